"""Models as graphs of named operations: read, checked, measured and computed with NumPy alone."""
