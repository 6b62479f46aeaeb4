"""`afpn_yolo.edge` does with every file and array what Ultralytics' predict does with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from ultralytics import YOLO
from ultralytics.utils.patches import imread

from afpn_yolo.edge import Detections, Detector, images
from tests.lively import PHOTOGRAPHS, photograph

COLOUR = photograph(PHOTOGRAPHS[0], 160, 128)  # BGR
GREY = np.ascontiguousarray(COLOUR[..., 1])
ALPHA = np.indices(GREY.shape).sum(0).astype(np.uint8)
DEEP = 256  # 16-bit values are no multiples of 257: rounding and cutting differ
RGB = Image.fromarray(COLOUR[..., ::-1])


def deep(array: np.ndarray) -> np.ndarray:
    return np.asarray(array.astype(np.uint16) * DEEP + ALPHA.reshape(*GREY.shape, 1)[: len(array)])


def by_pillow(image: Image.Image, **options: Any) -> Callable[[Path], None]:
    return lambda path: image.save(path, **options)


def by_opencv(*pages: np.ndarray) -> Callable[[Path], None]:
    return lambda path: None if cv2.imwritemulti(str(path), pages) else pytest.fail(str(path))


def turned(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number  # orientation
    return exif.tobytes()  # saving changes the object


MIXED = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
RGBA = Image.merge("RGBA", [*RGB.split(), Image.fromarray(ALPHA)])
PALETTE = RGB.quantize(32)
DEEP_GREY = Image.fromarray(GREY.astype(np.uint16) * DEEP + ALPHA)
FILES: dict[str, Callable[[Path], None]] = {
    **{f"colour.{kind}": by_pillow(RGB) for kind in "png jpg bmp tif webp jp2 avif".split()},  # noqa: SIM905
    **{f"grey.{kind}": by_pillow(Image.fromarray(GREY)) for kind in ("png", "jpg", "bmp", "tiff")},
    **{f"grey and alpha.{kind}": by_pillow(MIXED) for kind in ("png", "tif", "jp2")},
    **{f"alpha.{kind}": by_pillow(RGBA) for kind in ("png", "tif", "webp", "avif", "bmp")},
    **{f"palette.{kind}": by_pillow(PALETTE) for kind in ("png", "tif", "bmp")},
    "palette, transparent.png": by_pillow(PALETTE, transparency=3),
    **{f"1 bit.{k}": by_pillow(Image.fromarray(GREY > 99)) for k in ("png", "tif", "bmp")},
    **{f"16 bits, grey.{kind}": by_pillow(DEEP_GREY) for kind in ("png", "tif")},
    **{f"16 bits.{kind}": by_opencv(deep(COLOUR)) for kind in ("png", "tif")},
    **{
        f"16 bits, alpha.{kind}": by_opencv(deep(np.dstack((COLOUR, ALPHA))))
        for kind in ("png", "tif")
    },
    "cmyk.jpg": by_pillow(RGB.convert("CMYK")),
    "cmyk.tif": by_pillow(RGB.convert("CMYK")),
    "pages.tif": by_opencv(COLOUR, COLOUR[::-1]),
    "grey pages.tif": by_opencv(GREY, GREY[::-1]),
    "a TIFF's name.png": lambda path: by_pillow(RGBA, format="TIFF")(path),
    **{
        f"turned {number}.{kind}": by_pillow(RGB, exif=turned(number))
        for number in (3, 6)
        for kind in ("jpg", "png", "webp", "tif", "avif")
    },
}


@pytest.fixture(scope="module")
def agree(edge_model: Path) -> Callable[[Any, Any], int]:
    """Check that both find the same, to the last bit of the boxes; returns how many."""
    model, detector = YOLO(edge_model, task="detect"), Detector(edge_model, 0.1)

    def check(source: Any, name: str) -> int:
        boxes = model.predict(source, imgsz=160, conf=0.1, verbose=False)[0].boxes
        found: Detections = detector(source)
        assert np.array_equal(found.xyxy, boxes.xyxy.numpy()), name
        assert np.array_equal(found.scores, boxes.conf.numpy()), name
        assert np.array_equal(found.class_ids, boxes.cls.numpy()), name
        return len(found)

    return check


def test_every_kind_of_file(agree: Callable[[Any, Any], int], tmp_path: Path) -> None:
    found = 0
    for name, write in FILES.items():
        write(tmp_path / name)
        read = images.read(tmp_path / name)
        assert read.dtype == np.uint8, name
        assert read.shape[2:] == (3,), name
        assert np.array_equal(read, imread(tmp_path / name)), name
        found += agree(tmp_path / name, name)
    assert found > len(FILES)


ARRAYS = {
    "grey": GREY,
    "one channel": GREY[..., None],
    "grey and alpha": np.dstack((GREY, ALPHA)),
    "BGR": COLOUR,
    "a view": COLOUR[::-1, ::-1],
    "BGRA": np.dstack((COLOUR, ALPHA)),
    "five bands": np.dstack((COLOUR, GREY, ALPHA)),
    "16 bits": deep(COLOUR),
    "16 bits, grey": deep(GREY[..., None])[..., 0],
    "16 bits, alpha": deep(np.dstack((COLOUR, ALPHA))),
}


def test_every_kind_of_array(agree: Callable[[Any, Any], int]) -> None:
    assert sum(agree(array, name) for name, array in ARRAYS.items()) > len(ARRAYS)


@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_other_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(kind)).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=rf"x\.tif: .* {kind}"):
        images.read(tmp_path / "x.tif")


@pytest.mark.parametrize(("suffix", "package"), [("heic", "pi_heif"), ("avif", "PIL")])
def test_a_package_that_is_not_installed(
    suffix: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x.{suffix}"
    FILES["colour.avif"](tmp_path / "x.avif")
    path.write_bytes((tmp_path / "x.avif").read_bytes())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"x\.{suffix}: .*{package}.* pip install"):
        images.read(path)


@pytest.mark.parametrize("name", ["colour.avif", "16 bits.tif"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(ValueError, match=r"damaged, or no image"):
        images.read(tmp_path / name)
