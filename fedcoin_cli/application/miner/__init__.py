"""One miner: the deterministic replica, the process around it, its child, and the crew that starts several."""
