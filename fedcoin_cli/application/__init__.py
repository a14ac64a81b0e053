"""Application: the pure machines joined to files, sockets, processes and a clock."""
