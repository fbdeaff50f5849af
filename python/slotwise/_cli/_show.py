# SPDX-License-Identifier: Apache-2.0
"""`slotwise show`."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from slotwise._cli import _checkpoint, _commands, _text
from slotwise._cli._checkpoint import Checkpoint

_LONG = """\
The tensors of a checkpoint with their shapes, dtypes and sizes, the optimizer's config, extra, id
and parent. The data is not read. With --deltas, it is what the deltas make of the base."""


def add(commands: _commands.Commands) -> None:
    parser = _commands.command(commands, "show", run, "what is in a checkpoint", _LONG)
    _checkpoint.add(parser)
    _commands.add_json(parser)


def run(given: argparse.Namespace) -> int:
    with Checkpoint(given.path, given.deltas) as checkpoint:
        if given.json:
            print(json.dumps(_data(checkpoint, given.deltas), indent=2))
        else:
            for line in _lines(checkpoint, given.deltas):
                print(line)
    return 0


def _data(checkpoint: Checkpoint, deltas: list[str]) -> dict[str, Any]:
    tensors = []
    for name in checkpoint.names:
        dtype, sizes = checkpoint.kind(name)
        entry: dict[str, Any] = {
            "name": name,
            "role": checkpoint.role(name) or None,
            "dtype": dtype,
        }
        entry |= {"shape": [*sizes], "bytes": checkpoint.size(name)}
        tensors.append({**entry, "rows": checkpoint.rows_of(name)})
    members = ("id", "parent", "sequence", "config", "extra")
    found = {member: checkpoint.metadata.get(member) for member in members}
    return {"path": checkpoint.path, "deltas": deltas, **found, "tensors": tensors}


def _lines(checkpoint: Checkpoint, deltas: list[str]) -> Iterator[str]:
    metadata, names = checkpoint.metadata, checkpoint.names
    total = _text.size(sum(map(checkpoint.size, names)))
    kind = "a safetensors file or folder that slotwise did not write"
    if metadata:
        kind = "a checkpoint" if metadata["parent"] is None or deltas else "a delta"
    with_deltas = f" with {_text.count(len(deltas), 'delta')}" if deltas else ""
    tensors = _text.count(len(names), "tensor")
    yield f"{_text.printable(checkpoint.path)}: {kind}{with_deltas}, {tensors}, {total}"
    for what, value in _facts(metadata):
        yield from _wrapped(what, value)
    yield ""
    rows: list[tuple[str, ...]] = [("name", "role", "dtype", "shape", "size")]
    for name in names:
        dtype, sizes = checkpoint.kind(name)
        which = checkpoint.rows_of(name)
        own = _text.shape(sizes) + (f" (rows {_text.printable(which)})" if which else "")
        size = _text.size(checkpoint.size(name))
        rows.append((_text.printable(name), checkpoint.role(name), dtype, own, size))
    if not metadata:
        rows = [(name, *others) for name, _, *others in rows]
    for line in _text.table(rows, right=[len(rows[0]) - 1]):
        yield f"  {line}"


def _facts(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not metadata:
        return
    yield "id", metadata["id"]
    if metadata["parent"] is not None:
        yield "parent", metadata["parent"]
    if "sequence" in metadata:
        yield "sequence", _text.compact(metadata["sequence"])
    config = metadata["config"]
    several = config.get("optimizers") if config is not None else None
    if isinstance(several, dict):
        for name, own in several.items():
            yield f"optimizer {_text.printable(name)}", _optimizer(own)
    else:
        yield "optimizer", "none" if config is None else _optimizer(config)
    if metadata["extra"] is not None:
        yield "extra", _text.compact(metadata["extra"])


def _optimizer(config: Any) -> str:
    """An optimizer, as its constructor would be called."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        return _text.compact(config)
    pairs = config["config"].items()
    settings = ", ".join(
        f"{_text.printable(key)}={_text.printable(repr(value))}" for key, value in pairs
    )
    return f"{_text.printable(str(config.get('class_name')))}({settings})"


def _wrapped(what: str, value: str) -> list[str]:
    begin = f"  {what:<9} "
    return textwrap.wrap(
        value,
        max(60, shutil.get_terminal_size().columns),
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_on_hyphens=False,
    ) or [begin.rstrip()]
