"""A stock model YAML in, the same backbone and head with an AFPN neck out.

    from afpn_yolo.graft import graft
    print(graft("yolo11-seg.yaml", "lite").text)

This room lies below `plugin`, which grafts the models that are asked for by name.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

from afpn_yolo.base.errors import short_repr, yaml_name
from afpn_yolo.base.yaml_rows import absolute
from afpn_yolo.graft.necks import NARROWER, NECKS, NeckConfig, Row, neck_rows
from afpn_yolo.graft.parse import Pyramid, find_pyramid
from afpn_yolo.graft.shapes import measure
from afpn_yolo.graft.yaml_writer import page

__all__ = ["NECKS", "Grafted", "graft", "grafted_name", "named_scale", "neck_word"]

SCALED = re.compile(r"(yolov?\d+)([nslmx])(?=-|$)")


@dataclass(frozen=True)
class Grafted:
    """A model YAML with an AFPN neck.

    Attributes:
        content: What Ultralytics reads: plain lists and numbers.
        text: The same as a file, with comments.
        warning: A sentence if even the narrowest neck takes more than the stock one; else "".
    """

    content: dict[str, Any]
    text: str
    warning: str = ""


def graft(
    stock: str | Path | Mapping[str, Any], neck: str = "afpn", first_scale: str | None = None
) -> Grafted:
    """Put an AFPN neck into a model.

    The head reads as many channels as before, at every scale. A neck that would take more
    parameters or operations than the stock one gets fewer channels inside.

    Args:
        stock: A model YAML, as `YOLO()` takes it, or its content.
        neck: A name of `NECKS`.
        first_scale: The scale to be named first: Ultralytics takes it for names without a letter.

    Raises:
        OSError: When there is no such file.
        ValueError: When there is no such neck, or nothing that it could be put into.
    """
    if neck not in NECKS:
        raise ValueError(f"there is no neck {short_repr(neck)}; there are {', '.join(NECKS)}")
    d = copy.deepcopy(dict(stock) if isinstance(stock, Mapping) else _load(stock))
    if not d.get("scales"):  # Ultralytics takes a blank key for none
        d.pop("scales", None)
    elif not isinstance(d["scales"], Mapping):
        raise ValueError(
            f"{yaml_name(d)}: scales gives each letter its [depth, width, max_channels], as in "
            f"n: [0.33, 0.25, 1024]; got {short_repr(d['scales'])}"
        )
    if first_scale in d.get("scales", ()):
        d["scales"] = {first_scale: d["scales"][first_scale], **d["scales"]}
    # A control has the levels of any neck; the widths of other necks come from the stock one.
    pyramid = find_pyramid(d, ours=neck == "none")
    rows, warning = _fitted(neck, d, pyramid)
    stem = asked = PurePath(yaml_name(d)).stem
    if len(d.get("scales", ())) > 1:  # one file for all scales, whatever letter it was asked with
        stem = SCALED.sub(r"\1", asked)
    content = {**d, "head": [row.content for row in rows], "yaml_file": grafted_name(asked, neck)}
    text = page(
        {**content, "yaml_file": grafted_name(stem, neck)},
        stem,
        _about(NECKS[neck]),
        _noted(d["backbone"], pyramid),
        rows,
    )
    return Grafted(copy.deepcopy(content), text, warning)


def _fitted(neck: str, d: Mapping[str, Any], pyramid: Pyramid) -> tuple[list[Row], str]:
    """The rows of neck and head, with the first shares at which it takes no more than the stock.

    Sum and concatenation have AFPN's shares, to be compared with it. With it goes a warning, or "".
    """
    config = NECKS[neck]
    if config is None or not pyramid.cost.parameters:  # nothing that it could take more than
        return _rows(config, d, pyramid), ""
    for shares in dict.fromkeys((config.shares, *NARROWER)):  # each once
        measured = _rows(replace(config, shares=shares, fusion="AFPNFusion"), d, pyramid)
        try:
            cost = measure({**d, "head": [row.content for row in measured]})[1]
        except ValueError as error:
            if not config.blocks:
                raise
            raise ValueError(
                f"{yaml_name(d)}: the last rows of its neck can't follow AFPN's fusion; take the "
                "neck lite"
            ) from error
        rows = _rows(replace(config, shares=shares), d, pyramid)
        if cost.within(pyramid.cost):
            return rows, ""
    return rows, (
        f"{yaml_name(d)}: its stock neck is so small that this one takes more, even at "
        f"{Fraction(shares[-1])} of the widths that the head reads"
    )


def _rows(config: NeckConfig | None, d: Mapping[str, Any], pyramid: Pyramid) -> list[Row]:
    rows, outputs = neck_rows(config, pyramid.levels, len(d["backbone"]))
    _, *last = d["head"][-1]
    return [*rows, Row([[outputs[i] for i in pyramid.order], *last], heading="The stock head.")]


def named_scale(name: str) -> str | None:
    """The scale letter that Ultralytics reads in a model's name: `yolo11n-seg.yaml` -> `n`."""
    from ultralytics.nn.tasks import guess_model_scale

    return guess_model_scale(name) or None


def grafted_name(stem: str, neck: str) -> str:
    """The file name of a graft: `yolo11n-seg`, lite -> `yolo11n-afpn-lite-seg.yaml`."""
    family, dash, rest = stem.partition("-") if stem.startswith("yolo") else (stem, "", "")
    return f"{family}-{neck_word(neck)}{dash}{rest}.yaml"


def neck_word(neck: str) -> str:
    """What a neck is called in the name of a graft: `lite` -> `afpn-lite`."""
    return neck if neck in ("afpn", "none") else f"afpn-{neck}"


def _load(stock: str | Path) -> dict[str, Any]:
    from ultralytics.nn.tasks import yaml_model_load

    suffix = PurePath(stock).suffix
    if suffix not in (".yaml", ".yml"):
        hint = "weights start one by pretrained=" if suffix else f"did you mean {stock}.yaml?"
        raise ValueError(f"{stock}: a neck is put into a model YAML; {hint}")
    content: dict[str, Any] = yaml_model_load(stock)
    return content


def _about(config: NeckConfig | None) -> str:
    if config is None:
        return (
            "without a neck: the control of a comparison. The head reads each level of the "
            "backbone through one 1x1 convolution; nothing is fused. If the stock neck is not "
            "clearly better than this, the data set cannot tell necks apart."
        )
    about = "with AFPN, the asymptotic feature pyramid network (Yang et al., 2023), as its neck."
    return f"{about}\n{config.about}"


def _noted(backbone: list[list[Any]], pyramid: Pyramid) -> list[Row]:
    """The backbone's rows; comments name the strides and the levels that the neck takes."""
    names = {level.tap: f"C{level.number}" for level in pyramid.levels}
    strides = [shape and shape[0] for shape in pyramid.shapes]
    rows = []
    for i, row in enumerate(backbone):
        *_, source = absolute(row[0], i)
        before = 1 if source < 0 else strides[source]
        stride = strides[i]
        changed = f", stride {stride}" if stride and stride != before else ""
        rows.append(Row(row, f": {names[i]}" if i in names else changed))
    return rows
