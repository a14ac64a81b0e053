"""CONTRACT: what a task promises and what settles it; pure functions of chain state and bytes."""
