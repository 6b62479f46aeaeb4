"""`--quick`: what is compared, and for how long, where the user says no more than the data."""

from __future__ import annotations

NECKS = ("PAFPN=yolov5.yaml", "AFPN=yolov5-afpn.yaml", "lite=yolov5-afpn-lite.yaml")
SEEDS = (0, 1, 2)
SEEN, FEWEST, MOST = 20_000, 10, 100
CROWDED = 4_000  # images, of which ten epochs are twice `SEEN`


def schedule(images: int) -> tuple[int, float]:
    """Choose epochs by the number of training images.

    Every run sees about 20,000 images, some 1,250 batches of 16. On Aquarium (448 images, COCO
    backbone) that is 45 epochs; a model without a neck was then clearly behind in every seed.
    It is 10 epochs at least, since Ultralytics warms up for three of them, and 100 at most. Of more
    than 4,000 images, runs take 4,000, the same ones for every neck; the verdict is on those.

    Args:
        images: Number of training images.

    Returns:
        Epochs of every run, and the share of the training images that it takes.
    """
    epochs = min(MOST, max(FEWEST, -(-SEEN // max(1, images))))
    return epochs, round(min(1.0, CROWDED / max(1, images)), 4)
