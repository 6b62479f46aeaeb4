"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; what is there at the end becomes `path`, or nothing on an error.

    Each call has a path of its own: threads, processes and machines may write one file at once, and
    the last one's stays.

    Raises:
        PermissionError: On Windows, when another program has `path` open; it is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
    try:
        yield part
        try:
            os.replace(part, path)
        except PermissionError as error:
            raise PermissionError(
                f"{path} can't be replaced: it is open in another program, or it must not be "
                "written; close or unlock it, and call this again"
            ) from error
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, whole or not at all. NaN is refused: JSON has none."""
    with written_whole(path) as part:
        text = json.dumps(content, indent=1, allow_nan=False)
        part.write_text(f"{text}\n", encoding="utf-8")


def is_json(name: str | Path) -> bool:
    """Whether a file is JSON, by its suffix."""
    return Path(name).suffix.lower() == ".json"


def is_checkpoint(name: str | Path) -> bool:
    """Whether a file is a PyTorch checkpoint of Ultralytics, by its suffix."""
    return Path(name).suffix.lower() == ".pt"
