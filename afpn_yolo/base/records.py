"""Keys by which records and checkpoints of trainings say what these were made of."""

DIGEST = "data_digest"  # the state of the data
TRAINED_WITH = "trained_with"  # versions, several where a training went on under others
