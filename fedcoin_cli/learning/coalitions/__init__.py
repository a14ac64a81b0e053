"""Which coalitions are counted on which images: rankings as arrays, blocks of images, all coalitions."""
