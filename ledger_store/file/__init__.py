"""A ledger as a file: its lines, and the snapshot beside it."""
