"""Files outside `docs/` that pages link to: in the site they lie where GitHub has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
BESIDE = (
    "results/*.json",
    "results/*.html",
    "results/*.png",
    "results/*.yaml",
    "models/*.yaml",
    "CITATION.cff",
)


def on_files(files: Files, config: Any) -> Files:
    """Add them, with the same path as from the root of the repository."""
    for path in [ROOT / page for page in PAGES] + [p for b in BESIDE for p in ROOT.glob(b)]:
        uri = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links from `docs/` up to the root, and from the root down to `docs/`, are within the site."""
    return re.sub(r"(\]\(|src=\")(?:\.\./|docs/)", r"\1", markdown)
