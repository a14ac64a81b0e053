"""Commands: one file a verb; its first line is the verb's line in the help."""
