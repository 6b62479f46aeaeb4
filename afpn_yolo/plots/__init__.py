"""Pictures: what a model's fusions do with an image, and what its neck looks like."""
