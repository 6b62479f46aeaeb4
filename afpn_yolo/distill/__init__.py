"""A head start for a neck: it learns to give what another model's neck gives, from bare images.

A fresh neck knows nothing, whatever the backbone under it has learnt, and a few hundred images
teach it slowly. A neck that was trained on much more, a stock model's, can teach it in minutes.
"""
