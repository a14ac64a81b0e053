"""Whether this machine and this workspace are fit to mine, train and publish; nothing is mended here."""
