"""The error of an evaluation, and the words in which messages name a bad value."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import Repr
from typing import Any


class EvaluationError(ValueError):
    """A model or data set can't be evaluated; the message names the file and what to do."""


_short = Repr()
_short.maxlist = _short.maxdict = _short.maxtuple = 8
_short.maxlevel = 3
_short.maxstring = _short.maxother = _short.maxlong = 60


def short_repr(value: object) -> str:
    """`repr`, cut short: a YAML of a few lines can mean a list of a billion items."""
    return _short.repr(value)


def yaml_name(d: Mapping[str, Any]) -> str:
    """What messages call a model YAML: by its file, where it has one."""
    return str(d.get("yaml_file") or "model YAML")
