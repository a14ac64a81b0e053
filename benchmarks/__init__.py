"""Programs that measure; nothing of the project imports them, and no test asserts a speed."""
