"""Connections between miners and those who ask them, over ZeroMQ."""
