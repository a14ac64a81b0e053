"""From agreed Shapley sums and a price to integer payments: pure arithmetic."""
