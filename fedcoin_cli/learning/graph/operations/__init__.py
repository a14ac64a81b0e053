"""The operations that a graph may hold: one table, in families; each computes over any array library."""
