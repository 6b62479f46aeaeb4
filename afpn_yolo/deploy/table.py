"""From the rows of a benchmark to Markdown tables, in a file or between marks in a document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import written_whole
from afpn_yolo.base.markdown import table
from afpn_yolo.deploy.cases import TITLES

Row = dict[str, Any]
Key = tuple[Any, ...]
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
NEEDED = (
    *("neck", "scale", "part", "runtime", "precision", "imgsz", "batch", "baseline"),
    *("median_ms", "p10_ms", "p90_ms", "ratio_to_baseline", "ratio_p10", "ratio_p90"),
    *("parameters", "gflops", "nodes", "bytes", "peak_memory_mb"),
    *("runs", "warmup", "threads", "machine", "versions"),
)


def read(path: Path) -> list[Row]:
    """Read the rows that a benchmark wrote.

    Raises:
        OSError: When there is no such file.
        ValueError: When it is none of a benchmark.
    """
    try:
        rows = list(json.loads(path.read_text(encoding="utf-8")))
        absent = [key for row in rows for key in NEEDED if key not in row]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no result of a benchmark: {error}") from None
    if absent or not rows:
        what = f"a row lacks {absent[0]}" if absent else "it has no rows"
        raise ValueError(f"{path} is no result of a benchmark: {what}")
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """All tables: what the models are, and what they cost."""
    return "\n".join([*_conditions(rows), "", *_models(rows), "", *_times(rows)]) + "\n"


def _conditions(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    machine, versions = first["machine"], first["versions"]
    shown = ", ".join(f"{name} {number}" for name, number in versions.items())
    runs, warmup = first["runs"], first["warmup"]
    return [
        f"{machine['cpu']}, {machine['cores']} cores ({machine['architecture']}), "
        f"{first['threads']} threads. {shown}.",
        "",
        f"Milliseconds: median of {runs} calls after {warmup} to warm up, in brackets the 10th and "
        "the 90th percentile. The necks' calls alternate. "
        f"Ratio: of the medians to {first['baseline']}'s; in brackets the 10th and the 90th "
        "percentile over pairs of neighbouring calls. Memory: peak of a process that runs this "
        "model alone, interpreter and runtime included.",
    ]


def _models(rows: Sequence[Row]) -> Iterator[str]:
    """One line a model: parameters, nodes, and the size of its file in each format."""
    size, batch = rows[0]["imgsz"], rows[0]["batch"]
    formats = list(dict.fromkeys((r["runtime"], r["precision"]) for r in rows))
    head = ["model", "parameters", f"GFLOPs at {size}", "ONNX nodes"]
    lines = []
    for key, group in _groups(rows, lambda r: (r["part"], r["scale"], r["neck"])).items():
        here = [r for r in group if r["imgsz"] == size and r["batch"] == batch] or group
        sizes = {(r["runtime"], r["precision"]): r["bytes"] for r in here}
        cells = [f"{here[0]['parameters']:,}", f"{here[0]['gflops']:.3f}", str(here[0]["nodes"])]
        cells += [f"{sizes[f] / 1e6:.2f}" if f in sizes else "-" for f in formats]
        lines.append([_title(*key), *cells])
    return table([*head, *(f"{_way(*f)}, MB" for f in formats)], lines)


def _times(rows: Sequence[Row]) -> Iterator[str]:
    """One line a case: time, ratio and memory of each neck."""
    necks = list(dict.fromkeys(r["neck"] for r in rows))
    others = [neck for neck in necks if neck != rows[0]["baseline"]]
    head = ["part", "runtime", "size", "batch", *(f"{neck}, ms" for neck in necks)]
    head += [f"ratio {neck}" for neck in others] + [f"{neck}, MB" for neck in necks]
    order = ("part", "scale", "runtime", "precision", "imgsz", "batch")
    lines = []
    for key, group in _groups(rows, lambda r: tuple(r[k] for k in order)).items():
        part, scale, runtime, precision, size, batch = key
        row = {r["neck"]: r for r in group}
        cells = [_title(part, scale), _way(runtime, precision), str(size), str(batch)]
        cells += [_spread(row.get(neck), "median_ms", "p10_ms", "p90_ms") for neck in necks]
        ratio = ("ratio_to_baseline", "ratio_p10", "ratio_p90")
        cells += [_spread(row.get(neck), *ratio) for neck in others]
        cells += [f"{row[n]['peak_memory_mb']:.0f}" if n in row else "-" for n in necks]
        lines.append(cells)
    return table(head, lines)


def _groups(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    result: dict[Key, list[Row]] = {}
    for row in rows:
        result.setdefault(key(row), []).append(row)
    return result


def _title(part: str, scale: str | None, neck: str = "") -> str:
    return " ".join(word for word in (neck, scale, part) if word)


def _way(runtime: str, precision: str) -> str:
    return f"{TITLES.get(runtime, runtime)} {precision}"


def _spread(row: Row | None, middle: str, low: str, high: str) -> str:
    if row is None:
        return "-"
    return f"{row[middle]:.2f} ({row[low]:.2f}-{row[high]:.2f})"


def insert(document: Path, text: str) -> None:
    """Put a text between the two marks of a document, in place of what is there.

    Raises:
        OSError: When there is no such file.
        ValueError: When it hasn't both marks, once each and in order.
    """
    content = document.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or content.count(BEGIN) + content.count(END) != 2:
        raise ValueError(f"{document}: expected the lines {BEGIN} and {END}, once each")
    with written_whole(document) as part:
        part.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{after}", encoding="utf-8")
