# SPDX-License-Identifier: Apache-2.0
"""Values as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any


def printable(text: str) -> str:
    """Text of a file, without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def size(count: int) -> str:
    """A number of bytes.

    Example:
        >>> size(100), size(1 << 20), size(3 << 29)
        ('100 B', '1.0 MiB', '1.5 GiB')
    """
    if count < 1024:
        return f"{count} B"
    value, units = float(count), iter("KMGTPE")
    unit = ""
    while value >= 1023.95:
        value, unit = value / 1024, next(units)
    return f"{value:.1f} {unit}iB"


def shape(sizes: Sequence[int]) -> str:
    """A shape.

    Example:
        >>> shape((100, 4)), shape(())
        ('100 x 4', 'scalar')
    """
    return " x ".join(map(str, sizes)) or "scalar"


def count(number: int, what: str) -> str:
    """A number of things.

    Example:
        >>> count(1, "tensor"), count(2000, "tensor")
        ('1 tensor', '2,000 tensors')
    """
    return f"{number:,} {what}" + ("s" if number != 1 else "")


def compact(value: Any) -> str:
    """Data on one line."""
    return printable(json.dumps(value, ensure_ascii=False))


def table(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Lines of columns; those named are flush right.

    Example:
        >>> table([("name", "size"), ("w", "8 B")], right=[1])
        ['name  size', 'w      8 B']
    """
    found, flush = [*rows], {*right}
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in flush else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in found
    ]
