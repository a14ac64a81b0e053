"""Contract: the terms of a task and its settlement (pure)."""
