"""The published figures of this line of work again: one file a figure; `python -m benchmarks.papers` draws them all."""
