"""FedCoin: Shapley-value payments for federated learning on a ledger agreed by miners."""
