"""A federation that is paid while it trains: what its server keeps of each client, and what a client signs."""
