# SPDX-License-Identifier: Apache-2.0
"""Sizes and times as people write and read them."""

from __future__ import annotations

KI, MI, GI = 1 << 10, 1 << 20, 1 << 30
_BINARY = (("Gi", GI), ("Mi", MI), ("Ki", KI))


def parse_size(text: str) -> int:
    """``64``, ``16Ki``, ``64Mi`` -> number of elements."""
    for suffix, factor in _BINARY:
        if text.endswith(suffix):
            return int(text.removesuffix(suffix)) * factor
    return int(text)


def show_size(size: int) -> str:
    for suffix, factor in _BINARY:
        if size >= factor and size % factor == 0 and size // factor < 1024:
            return f"{size // factor} {suffix}"
    return f"{size / 1e6:.1f} M" if size >= 10**6 else f"{size:,}".replace(",", " ")


def show_time(seconds: float | None) -> str:
    """Three digits, in the unit that suits."""
    if seconds is None:
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def show_bytes(count: int | None) -> str:
    if count is None:
        return "-"
    for suffix, factor in _BINARY:
        if count >= factor:
            return f"{count / factor:.3g} {suffix}B"
    return f"{count} B"


def show_rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate / 1e9:.1f} GB/s"


def show_count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def show_ratio(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.1f}x"
