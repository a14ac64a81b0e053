"""Rounds of simulated clients: data sets, their splits, training."""
