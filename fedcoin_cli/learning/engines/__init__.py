"""Counting correct images of coalitions, quickly: the C kernel and Keras."""
