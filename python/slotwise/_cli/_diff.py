# SPDX-License-Identifier: Apache-2.0
"""`slotwise diff`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slotwise._cli import _checkpoint, _commands, _progress, _text
from slotwise._cli._checkpoint import Checkpoint
from slotwise._cli._compare import Difference
from slotwise._cli._errors import DONE, FAILED
from slotwise.state._stream import pieces

_LONG = """\
What differs between two checkpoints: the optimizer's config, extra, and tensors, those with the
largest difference first. Tensors are compared bit by bit: 0.0 and -0.0 differ, and a NaN is equal
to itself. Ids, and how the tensors are spread over files, do not count. Memory stays small however
large the tensors are.

  changed    elements that differ
  max |B-A|  the largest difference of finite numbers, and where it is
  |B-A|/|A|  the norm of the difference, relative to that of A
  NaN, inf   changed elements that are not finite in A or in B: left out of both numbers"""
_MISSING = object()


@dataclass
class _Found:
    """All that differs.

    Attributes:
        settings: by path: the value in A, and in B.
        only_a, only_b: names of tensors.
        kinds: by name: dtype, shape and role in A, and in B.
        values: by name.
        same: how many tensors are the same.
    """

    settings: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[str, tuple[Difference, tuple[int, ...]]] = field(default_factory=dict)
    same: int = 0

    def __bool__(self) -> bool:
        return bool(self.settings or self.only_a or self.only_b or self.kinds or self.values)


def add(commands: _commands.Commands) -> None:
    parser = _commands.command(commands, "diff", run, "what differs between two checkpoints", _LONG)
    parser.add_argument("a", metavar="A", help="a checkpoint")
    parser.add_argument("b", metavar="B", help="another one")
    _checkpoint.add_deltas(parser, "--deltas-a", "A")
    _checkpoint.add_deltas(parser, "--deltas-b", "B")
    _commands.add_json(parser)
    _progress.add(parser)


def run(given: argparse.Namespace) -> int:
    with (
        Checkpoint(given.a, given.deltas_a, is_whole=True) as a,
        Checkpoint(given.b, given.deltas_b, is_whole=True) as b,
    ):
        found = _compare(a, b, given.progress)
    if given.json:
        print(json.dumps(_data(found), indent=2))
    else:
        if found:
            for side, path, deltas in (
                ("A", given.a, given.deltas_a),
                ("B", given.b, given.deltas_b),
            ):
                added = f" with {_text.count(len(deltas), 'delta')}" if deltas else ""
                print(f"{side}: {_text.printable(path)}{added}")
        for line in _lines(found):
            print(line)
    return FAILED if found else DONE


def _compare(a: Checkpoint, b: Checkpoint, progress: bool | None) -> _Found:
    found = _Found()
    for member in ("config", "extra"):
        own, other = a.metadata.get(member), b.metadata.get(member)
        found.settings |= _settings(own, other, member)
    found.only_a = [name for name in a.names if name not in b.sources]
    found.only_b = [name for name in b.names if name not in a.sources]
    both = [name for name in a.names if name in b.sources]
    for name in both:
        ours, theirs = _kind(a, name), _kind(b, name)
        if ours != theirs:
            found.kinds[name] = ours, theirs
    alike = [name for name in both if a.kind(name) == b.kind(name)]
    total = sum(map(a.size, alike))
    with _progress.shown("diff", total, progress) as advance:
        for name in alike:
            difference = Difference()
            streams = pieces(a.sources[name]), pieces(b.sources[name])
            for piece, other in zip(*streams, strict=True):
                difference.add(piece, other)
                advance(piece.nbytes)
            if difference.changed:
                found.values[name] = difference, a.kind(name)[1]
            elif name not in found.kinds:
                found.same += 1
    order = sorted(found.values.items(), key=lambda item: item[1][0].rank, reverse=True)
    found.values = dict(order)
    return found


def _kind(checkpoint: Checkpoint, name: str) -> str:
    dtype, sizes = checkpoint.kind(name)
    role = checkpoint.role(name)
    return f"{dtype} {_text.shape(sizes)}" + (f" ({role})" if role else "")


def _settings(a: Any, b: Any, where: str) -> dict[str, tuple[Any, Any]]:
    """What differs between data of JSON, by path; NaN is equal to NaN."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for key in {**a, **b}:
            own, other = a.get(key, _MISSING), b.get(key, _MISSING)
            found |= _settings(own, other, f"{where}.{key}")
        return found
    if _MISSING not in (a, b) and json.dumps(a) == json.dumps(b):
        return {}
    return {where: (a, b)}


def _place(difference: Difference, sizes: tuple[int, ...]) -> list[int] | None:
    if difference.place is None:
        return None
    return [int(n) for n in np.unravel_index(difference.place, sizes)] if sizes else []


def _data(found: _Found) -> dict[str, Any]:
    def told(value: Any) -> dict[str, Any]:
        return {} if value is _MISSING else {"value": value}

    return {
        "settings": [
            {"name": name, "a": told(a), "b": told(b)} for name, (a, b) in found.settings.items()
        ],
        "only_in_a": found.only_a,
        "only_in_b": found.only_b,
        "kinds": [{"name": name, "a": a, "b": b} for name, (a, b) in found.kinds.items()],
        "tensors": [
            {
                "name": name,
                "elements": difference.elements,
                "changed": difference.changed,
                "not_finite": difference.not_finite,
                "max_difference": None if difference.place is None else difference.largest,
                "at": _place(difference, sizes),
                "relative": difference.relative,
            }
            for name, (difference, sizes) in found.values.items()
        ],
        "same": found.same,
    }


def _lines(found: _Found) -> Iterator[str]:
    def told(value: Any) -> str:
        return "(missing)" if value is _MISSING else _text.compact(value)

    for name, (a, b) in found.settings.items():
        yield f"{_text.printable(name)}: {told(a)} -> {told(b)}"
    for which, names in (("A", found.only_a), ("B", found.only_b)):
        for name in names:
            yield f"only in {which}: {_text.printable(name)}"
    for name, (own, other) in found.kinds.items():
        yield f"{_text.printable(name)}: {own} -> {other}"
    if found.values:
        yield from _text.table(_rows(found), right=[1, 2, 3, 4])
    yield f"same: {_text.count(found.same, 'tensor')}"


def _rows(found: _Found) -> Iterator[tuple[str, ...]]:
    yield "name", "changed", "max |B-A|", "|B-A|/|A|", "NaN, inf", "max at"
    for name, (difference, sizes) in found.values.items():
        share = difference.changed / difference.elements
        place, relative = _place(difference, sizes), difference.relative
        has_norm = relative is not None and difference.place is not None
        yield (
            _text.printable(name),
            f"{difference.changed:,} of {difference.elements:,} ({_percent(share)})",
            "-" if place is None else f"{difference.largest:.6g}",
            f"{relative:.3g}" if has_norm else "-",
            f"{difference.not_finite:,}" if difference.not_finite else "-",
            f"[{', '.join(map(str, place))}]" if place else "-",
        )


def _percent(share: float) -> str:
    """A share, which is 0% or 100% only if it is exact.

    Example:
        >>> _percent(1.0), _percent(0.5), _percent(0.99999), _percent(1e-9)
        ('100%', '50%', '99.9%', '<0.1%')
    """
    if share < 0.001:
        return "<0.1%"
    return f"{math.floor(share * 1000) / 10:g}%"
