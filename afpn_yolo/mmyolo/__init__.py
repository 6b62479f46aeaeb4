"""Checkpoints of the authors' own code, which is written on MMYOLO."""
