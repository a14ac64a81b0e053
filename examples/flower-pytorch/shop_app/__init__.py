"""A paid federation: PyTorch on scikit-learn's digits."""
