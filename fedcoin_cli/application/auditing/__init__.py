"""Auditing with a round's files: what levels 0 to 3 cannot see, because it is not in the ledger."""
