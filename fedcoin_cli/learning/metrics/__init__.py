"""What outputs are worth by a task's metric, in integers, and between which bounds when rounding moves the outputs."""
