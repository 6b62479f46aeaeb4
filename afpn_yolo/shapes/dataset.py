"""Write the shapes set to disk, whole or not at all, in YOLO format."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from afpn_yolo.shapes.labels import TASKS, data_yaml, label_file
from afpn_yolo.shapes.scene import layout, render

SPLITS = ("train", "val")
Recipe = dict[str, int | str]
MARKER = "shapes.json"  # holds the arguments of the set; its presence says that the set is complete


def streams(seed: int, split: str, index: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Generators of one picture's layout and of its pixels, independent of every other picture."""
    pair = np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(2)
    return np.random.Generator(np.random.PCG64(pair[0])), np.random.Generator(
        np.random.PCG64(pair[1])
    )


def _write(root: Path, split: str, index: int, seed: int, size: int, task: str) -> None:
    """Write one picture and its label file."""
    for_layout, for_pixels = streams(seed, split, index)
    scene = layout(for_layout, size)
    # Encoding in memory lets Python open the file: cv2.imwrite fails on some non-ASCII paths.
    jpeg = cv2.imencode(".jpg", render(for_pixels, scene), [cv2.IMWRITE_JPEG_QUALITY, 93])[1]
    (root / "images" / split / f"{index:05d}.jpg").write_bytes(jpeg.tobytes())
    (root / "labels" / split / f"{index:05d}.txt").write_bytes(label_file(scene, task).encode())


def _check(counts: dict[str, int], seed: int, size: int, task: str) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count}: allowed are counts of at least 1")
    if seed < 0:
        raise ValueError(f"seed={seed}: allowed are integers of at least 0")
    if size < 128 or size % 32:
        raise ValueError(f"size={size}: allowed are multiples of 32 of at least 128")
    if task not in TASKS:
        raise ValueError(f"task={task}: allowed are {', '.join(TASKS)}")


def _present(root: Path, recipe: Recipe) -> bool:
    """Whether `root` holds the complete set of `recipe`; an absent or empty folder does not.

    Raises:
        FileExistsError: The folder holds something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    found = json.loads(marker.read_text()) if marker.is_file() else None
    if found == recipe:
        return True
    what = (
        f"a shapes set made with {found}, not {recipe}"
        if found
        else "something other than a shapes set"
    )
    raise FileExistsError(f"{root} holds {what}; move or delete it, or choose another folder")


def generate(
    root: str | Path,
    train: int = 320,
    val: int = 80,
    seed: int = 0,
    size: int = 320,
    task: str = "detect",
) -> Path:
    """Write the data set, unless it is there already.

    The files are written beside `root` and renamed at the end, so `root` is never half a set.

    Args:
        root: Folder of the set; it gets `images/{train,val}/*.jpg`, `labels/{train,val}/*.txt` and
            `data.yaml`, which `yolo train data=...` takes.
        train: Number of training pictures.
        val: Number of validation pictures.
        seed: Start of all random choices, at least 0.
        size: Side of the square pictures, pixels; below 224 no object is large in COCO's sense.
        task: What the labels say of the same pictures: `detect` (boxes), `segment` (polygons),
            `pose` (boxes and four keypoints) or `obb` (rotated boxes).

    Returns:
        The folder as an absolute path.

    Raises:
        ValueError: A count or the seed is too small, the size is below 128 or no multiple of 32, or
            there is no such task.
        FileExistsError: `root` holds other files, or a set made with other arguments.
    """
    counts = {"train": train, "val": val}
    _check(counts, seed, size, task)
    recipe: Recipe = {"version": 2, **counts, "seed": seed, "size": size, "task": task}
    root = Path(root).absolute()
    if _present(root, recipe):
        return root
    part = root.with_name(f".{root.name}-{uuid.uuid4().hex}")
    try:
        for kind in ("images", "labels"):
            for split in SPLITS:
                (part / kind / split).mkdir(parents=True)
        jobs = [(s, i) for s, count in zip(SPLITS, (train, val), strict=True) for i in range(count)]
        for split, index in tqdm(jobs, desc=f"Drawing shapes to {root}", disable=None):
            _write(part, split, index, seed, size, task)
        (part / "data.yaml").write_bytes(data_yaml(task).encode())
        (part / MARKER).write_text(json.dumps(recipe))
        _publish(part, root, recipe)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def _publish(part: Path, root: Path, recipe: Recipe) -> None:
    """Rename the finished folder to `root`, or leave it when another process was first."""
    try:
        if root.exists():
            root.rmdir()  # only an empty folder goes; some systems do not rename onto it
        part.rename(root)
    except OSError:
        if not _present(root, recipe):
            raise
