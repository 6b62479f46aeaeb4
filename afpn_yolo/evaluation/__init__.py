"""COCO's metrics of any model on any data."""
