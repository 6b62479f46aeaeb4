"""What every room may use: it imports the standard library, and nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The version of each of these distributions that is here; the others are left out."""
    versions = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def markdown_table(
    head: Sequence[str], lines: Iterable[Sequence[str]], texts: int = 1
) -> Iterator[str]:
    """Lines of a table, each as soon as there is one; the first `texts` columns are no numbers."""
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    yield from (f"| {' | '.join(cells)} |" for cells in (head, rule))
    yield from (f"| {' | '.join(cells)} |" for cells in lines)
