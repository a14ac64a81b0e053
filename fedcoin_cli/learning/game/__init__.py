"""The cooperative game of a task: its players, and what a coalition is worth."""
