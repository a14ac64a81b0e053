"""Round directories: written by `train`, checked by `publish`. Training itself is in `learning`."""
