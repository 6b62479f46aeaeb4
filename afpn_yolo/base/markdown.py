"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], lines: Iterable[Sequence[str]], texts: int = 1) -> Iterator[str]:
    """Lines of a table, each as soon as there is one; the first `texts` columns are no numbers."""
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    for cells in (head, rule):
        yield _line(cells)
    yield from map(_line, lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
