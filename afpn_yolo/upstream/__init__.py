"""All that this package calls of Ultralytics: models, rows, data, prediction, training.

`afpn_yolo.plugin` is what it changes there. No other room knows Ultralytics' internals.
"""
