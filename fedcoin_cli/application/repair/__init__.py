"""Local ledgers made whole again without losing a byte."""
