"""One miner as a pure machine: finality, task work, intake and catching up, without sockets, files or a clock."""
