"""A miner process: the replica with sockets, files, a clock and a mining child."""
