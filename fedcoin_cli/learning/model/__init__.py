"""Models: their description, their weights, and what Keras makes of them."""
