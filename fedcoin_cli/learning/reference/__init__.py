"""What a count is worth: the model in float64, how far engines may be from it, and which tasks are admitted."""
