"""Network: messages, who may send them, and the sockets and files that carry them."""
