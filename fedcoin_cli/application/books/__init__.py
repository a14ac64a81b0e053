"""What a verified ledger says, looked up and reported. Nothing here writes or sends."""
