"""The folder that holds a network: its settings, keys, peers and files. Nothing here reads a ledger."""
