"""Whether Ultralytics has our layers here, for those who ask."""

from __future__ import annotations

import os

from afpn_yolo.plugin import startup


def why_not_registered() -> str | None:
    """Why Ultralytics has no AFPN layers in this process; None where it has them."""
    if os.environ.get(startup.DISABLE, "0") not in ("", "0"):
        return f"{startup.DISABLE} is set"
    try:
        from ultralytics.nn import tasks
    except Exception as error:  # an installation can be broken in many ways
        return f"ultralytics can't be imported ({type(error).__name__}: {error})"
    if hasattr(tasks, "AFPN_LAYERS"):
        return None
    return str(startup.refused.get(tasks.__name__, "the start-up hook was not called"))
