"""Verifying a ledger offline, and proofs of single payments."""
