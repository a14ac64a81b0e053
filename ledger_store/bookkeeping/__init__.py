"""A ledger as accounts: every movement of coins, and the formats of accountants' programs."""
