"""A comparison as one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from afpn_yolo.base.records import DIGEST
from afpn_yolo.compare.figures import bubbles, curves, sizes, svg
from afpn_yolo.compare.plan import short
from afpn_yolo.compare.table import COLUMNS, EXPLAINED, Row, shown, versus
from afpn_yolo.compare.verdict import notes as verdict_notes

STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --ink: #1f2328;
  --dim: #59636e; --paper: #fff; --mark: #0969da; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #151b23; --ink: #f0f6fc;
  --dim: #9198a1; --paper: #0d1117; --mark: #4493f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.dim { color: var(--dim); font-size: .9rem; }
.verdict { border-left: 4px solid var(--mark); background: var(--soft); border-radius: 0 8px 8px 0;
  padding: .75rem 1.25rem; margin: 1.5rem 0; }
.verdict p { margin: .4rem 0; }
.verdict p:first-of-type { font-size: 1.1rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { color: var(--dim); font-weight: 600; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
tbody tr:hover { background: var(--soft); }
.figures { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: .75rem; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif !important; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
"""


def page(
    name: str,
    table: Sequence[Row],
    conditions: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> str:
    """Verdict, table, figures and conditions.

    Args:
        name: Of the comparison.
        table: A row for every neck.
        conditions: What all runs shared.
        verdict: As `verdict.verdict` gives it.
        notes: Sentences about versions and data; `**` around one makes it bold.
    """
    drawn = "".join(
        f"<figure>{svg(draw(table))}</figure>" for draw in (curves, bubbles, sizes) if table
    )
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escape(name)}: comparison of necks</title>\n",
            f"<style>{STYLE}</style>\n</head>\n",
            f"<body>\n<h1>Comparison of necks: {escape(name)}</h1>\n",
            f'<div class="dim">{escape(shown(conditions))}</div>\n',
            _verdict(verdict),
            "<h2>Accuracy and cost</h2>\n",
            _table(table),
            f'<p class="dim">{EXPLAINED} of the images above.</p>\n',
            f'<h2>Figures</h2>\n<div class="figures">{drawn}</div>\n',
            _list("Along the way", versus(table)),
            _list("Conditions", [*notes, *_digests(conditions)]),
            "</body>\n</html>\n",
        )
    )


def _verdict(verdict: Mapping[str, Any] | None) -> str:
    if not verdict:
        return ""
    parts = []
    for one in verdict["scales"]:
        title = f"<h2>Scale {escape(one['scale'])}</h2>" if len(verdict["scales"]) > 1 else ""
        said = "".join(f"<p>{escape(text)}</p>" for text in one["text"])
        parts.append(f'{title}<div class="verdict">{said}</div>\n')
    parts += [f'<div class="dim">{note}</div>\n' for note in verdict_notes(verdict)]
    return "".join(parts)


def _table(table: Sequence[Row]) -> str:
    lines = []
    for row in table:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells())
        lines.append(f"<tr>{cells}</tr>")
    head = "".join(f"<th>{key}</th>" for key in COLUMNS)
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _digests(conditions: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Backbone{' of scale ' + scale if scale else ''}: tensors {short(tensors)}."
        for scale, tensors in (conditions.get("backbone") or {}).items()
    ]
    if digest := conditions.get(DIGEST):
        lines.append(f"Images and labels: {short(digest)}.")
    return lines


def _list(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    listed = "\n".join(f"<li>{_bold(item)}</li>" for item in items)
    return f"<h2>{title}</h2>\n<ul>\n{listed}\n</ul>\n"


def _bold(text: str) -> str:
    inner = escape(text.strip("*"))
    return f"<strong>{inner}</strong>" if text.startswith("**") else inner
