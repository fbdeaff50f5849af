# SPDX-License-Identifier: Apache-2.0
"""`slotwise get`."""

from __future__ import annotations

import argparse
import math
import re
import sys
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from slotwise._cli import _checkpoint, _commands, _text
from slotwise._cli._checkpoint import Checkpoint
from slotwise._cli._errors import DONE, Refused
from slotwise.state._stream import PIECE, Scattered, pieces

_LONG = """\
Print a tensor, or some of its rows: a line for each row (of the first axis), its numbers apart by
spaces, each with the fewest digits that give the same number again. Only what is printed is read
and verified. A NAME that begins with a dash comes after --."""


def add(commands: _commands.Commands) -> None:
    parser = _commands.command(commands, "get", run, "print a tensor, or rows of it", _LONG)
    parser.add_argument(
        "path", metavar="PATH", help="a checkpoint: a folder or a .safetensors file"
    )
    parser.add_argument("name", metavar="NAME", help="of the tensor: emb, emb/m, iterations")
    rows = "rows, as Python slices: 0:10, 5:, :3, or one: 7; --rows=-2: are the last two"
    parser.add_argument("--rows", type=_rows, metavar="BEGIN:END", help=rows)
    _checkpoint.add_deltas(parser, "--deltas", "PATH")


def _rows(text: str) -> slice | int:
    """Rows that are asked for, or one."""
    found = re.fullmatch(r"(-?\d+)?:(-?\d+)?|(-?\d+)", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected BEGIN:END or a number, got '{text}'")
    begin, end, one = (None if part is None else int(part) for part in found.groups())
    return slice(begin, end) if one is None else one


def run(given: argparse.Namespace) -> int:
    with Checkpoint(given.path, given.deltas) as checkpoint:
        checkpoint.check(given.name)
        dtype, sizes = checkpoint.kind(given.name)
        if given.rows is not None and not sizes:
            raise Refused(f"--rows: '{given.name}' is a scalar ({dtype}), which has no rows")
        which = checkpoint.rows_of(given.name)
        if which is not None:
            text = f"a delta has only some rows of '{given.name}': '{which}' says which"
            print(f"slotwise: note: {_text.printable(text)}", file=sys.stderr)
        source = checkpoint.sources[given.name]
        size = checkpoint.size(given.name)
        count = sizes[0] if sizes else 1
        first, last = _bounds(given.name, given.rows, count)
        row, width = (size // count if count else 0), math.prod(sizes[1:])
        step = max(1, PIECE // max(1, row))
        for begin in range(first, last, step):
            end = min(last, begin + step)
            # A few rows are not worth putting the whole table in order.
            if isinstance(source, Scattered) and (last - first) <= step:
                values = source.rows(begin, end)
            else:
                parts = [*pieces(source, begin * row, end * row)]
                values = np.concatenate(parts) if parts else np.empty(0)
            for line in values.reshape(end - begin, width):
                print(" ".join(map(str, _plain(line))))
    return DONE


def _bounds(name: str, rows: slice | int | None, count: int) -> tuple[int, int]:
    """The first row, and the one behind the last.

    Raises:
        Refused: there is no such row.
    """
    if isinstance(rows, int):
        if not -count <= rows < count:
            raise Refused(f"--rows: '{name}' has {_text.count(count, 'row')}, got {rows}")
        return rows % count, rows % count + 1
    first, last, _ = (rows or slice(None)).indices(count)
    return first, last


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """What NumPy knows how to print."""
    return values.astype(np.float32) if values.dtype == ml_dtypes.bfloat16 else values
