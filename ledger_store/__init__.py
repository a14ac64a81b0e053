"""The ledger: values, bytes, the chain file and its audit. Needs the standard library and PyNaCl only."""
