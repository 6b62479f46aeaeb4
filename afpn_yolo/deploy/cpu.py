"""Whether 8-bit products overflow on this processor."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
VNNI = {"avx512_vnni", "avx_vnni"}
"""Flags of x86 processors that add up 8-bit products in 32 bits; others do it in 16."""


def overflows() -> bool:
    """Whether this is an x86 processor without VNNI; False where the system doesn't say."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # ARM's line is called "Features".
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    return flags is not None and VNNI.isdisjoint(flags)
