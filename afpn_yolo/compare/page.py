"""A comparison as one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from afpn_yolo.compare.table import COLUMNS, cells
from afpn_yolo.compare.verdict import notes
from afpn_yolo.evaluation.records import Row
from afpn_yolo.plots.comparison import svg

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
.conditions { width: auto; } .conditions td { text-align: left; white-space: normal; }
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
    conditions: Mapping[str, str],
    verdict: Mapping[str, Any] | None,
    figures: Mapping[str, Figure],
    lists: Mapping[str, Sequence[str]],
    explained: str,
) -> str:
    """Verdict, table, figures and conditions.

    Args:
        name: Of the comparison.
        table: A row for every neck.
        conditions: What all runs shared, in words.
        verdict: As `verdict.verdict` gives it.
        figures: What is drawn.
        lists: Title -> sentences; `**` around one makes it bold.
        explained: What the figures of the table are.
    """
    drawn = "".join(f"<figure>{svg(figure)}</figure>" for figure in figures.values())
    settings = (f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in conditions.items())
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escape(name)}: comparison of necks</title>\n",
            f"<style>{STYLE}</style>\n</head>\n",
            f"<body>\n<h1>Comparison of necks: {escape(name)}</h1>\n",
            _verdict(verdict),
            "<h2>Accuracy and cost</h2>\n",
            _table(table),
            f'<p class="dim">{escape(explained)}</p>\n',
            f'<h2>Figures</h2>\n<div class="figures">{drawn}</div>\n',
            *(_list(title, items) for title, items in lists.items()),
            f'<h2>Conditions</h2>\n<table class="conditions">{"".join(settings)}</table>\n',
            "</body>\n</html>\n",
        )
    )


def _verdict(verdict: Mapping[str, Any] | None) -> str:
    if not verdict:
        return ""
    parts = []
    for one in verdict["scales"]:
        title = f"<h2>Scale {escape(one['scale'])}</h2>" if len(verdict["scales"]) > 1 else ""
        text = "".join(f"<p>{escape(sentence)}</p>" for sentence in one["text"])
        parts.append(f'{title}<div class="verdict">{text}</div>\n')
    parts += [f'<div class="dim">{note}</div>\n' for note in notes(verdict)]
    return "".join(parts)


def _table(table: Sequence[Row]) -> str:
    head = "".join(f"<th>{key}</th>" for key in COLUMNS)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) for row in table)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _list(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    listed = "\n".join(f"<li>{_bold(item)}</li>" for item in items)
    return f"<h2>{escape(title)}</h2>\n<ul>\n{listed}\n</ul>\n"


def _bold(text: str) -> str:
    inner = escape(text.strip("*"))
    return f"<strong>{inner}</strong>" if text.startswith("**") else inner
