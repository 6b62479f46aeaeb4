"""`KEY=VALUE` as `yolo` reads it, with Ultralytics' own check of names and types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ultralytics.cfg import check_cfg, check_dict_alignment, parse_key_value_pair
from ultralytics.utils import DEFAULT_CFG_DICT

from afpn_yolo.upstream.log import one_line, quiet


def read_settings(words: Sequence[str], option: str) -> dict[str, Any]:
    """Read arguments of Ultralytics'; `lr0=1e-3` is a number, `cache=None` is None.

    Args:
        words: `KEY=VALUE` each.
        option: What messages call the place where they were written: `--set`.

    Raises:
        ValueError: When one is no argument of `yolo`, or its value is of a wrong type.
    """
    result: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            raise ValueError(f"{option} {word}: expected KEY=VALUE")
        try:
            key, value = parse_key_value_pair(word)
            one = {key: value}
            with quiet():  # else the whole help of `yolo` comes first
                check_dict_alignment(DEFAULT_CFG_DICT, one)
            check_cfg(one)
        except (AssertionError, NameError, SyntaxError, TypeError, ValueError) as error:
            raise ValueError(f"{option} {word}: {one_line(error)}") from None
        result |= one
    return result
