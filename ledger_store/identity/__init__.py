"""Keys, the files that hold them, and signatures in bulk."""
