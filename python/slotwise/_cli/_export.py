# SPDX-License-Identifier: Apache-2.0
"""`slotwise export`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from slotwise import StateError
from slotwise._cli import _checkpoint, _commands, _npz, _progress, _text
from slotwise._cli._checkpoint import Checkpoint
from slotwise._cli._errors import DONE, Refused
from slotwise.state import _format, _writer
from slotwise.state._memory import Source
from slotwise.state._ranks import Exchange
from slotwise.state._spread import ranks_of

_LONG = """\
Write the tensors of a checkpoint, with its deltas, into one file. What is in place of the file is
replaced once the new one is complete; memory stays small however large the tensors are.

  .npz          what numpy.load reads: the tensors, and nothing else
  .safetensors  what safetensors and slotwise read: also config and extra; a whole checkpoint"""
_NPZ, _SAFETENSORS = ".npz", ".safetensors"


def add(commands: _commands.Commands) -> None:
    short = "write the tensors into one .npz or .safetensors file"
    parser = _commands.command(commands, "export", run, short, _LONG)
    parser.add_argument(
        "path", metavar="PATH", help="a checkpoint: a folder or a .safetensors file"
    )
    parser.add_argument("out", metavar="OUT", help="the file: out.npz or out.safetensors")
    _checkpoint.add_deltas(parser, "--deltas", "PATH")
    only = "write these tensors only (a .safetensors file has neither config nor extra then)"
    parser.add_argument("--only", nargs="+", metavar="NAME", help=only)
    text = (
        "what bfloat16 becomes in .npz, which has no such dtype: float32 of the same values (the "
    )
    text += "default), or its bits as uint16"
    parser.add_argument("--bfloat16", choices=[*_npz.FORMS], default="float32", help=text)
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    _progress.add(parser)


def run(given: argparse.Namespace) -> int:
    out = Path(os.path.realpath(given.out))
    if out.suffix not in (_NPZ, _SAFETENSORS):
        raise Refused(f"OUT: expected a name that ends in .npz or .safetensors, got {given.out}")
    refuse_existing(given.out, given.force)
    if out.is_dir():
        raise Refused(f"{given.out}: expected a file, got a folder")
    if not out.parent.is_dir():
        raise Refused(f"{given.out}: there is no folder {out.parent}")
    with Checkpoint(given.path, given.deltas, is_whole=True) as checkpoint:
        for name in given.only or ():
            checkpoint.check(name)
        names = [*dict.fromkeys(given.only)] if given.only else checkpoint.names
        sources = _Chosen(checkpoint.sources, names)
        total = sum(map(checkpoint.size, names))
        check = partial(refuse_existing, given.out, given.force)
        if out.suffix == _NPZ:
            _check_names(names)
            _note_bfloat16(checkpoint, names, given.bfloat16)
            what = f"export {_text.printable(given.path)}"
            with _progress.shown(what, total, given.progress) as advance:
                _npz.write(out, sources, _npz.FORMS[given.bfloat16], check, advance)
        else:
            metadata = _metadata(checkpoint, names, whole=not given.only)
            _write_safetensors(out, sources, metadata, check, given.progress)
    print(f"{_text.printable(given.out)}: {_text.count(len(names), 'tensor')}, {_text.size(total)}")
    return DONE


def refuse_existing(out: str, force: bool) -> None:
    """Refuse a path at which something is.

    Raises:
        Refused: without force.
    """
    if os.path.lexists(out) and not force:
        raise Refused(f"{out}: it exists: --force replaces it")


class _Chosen(Mapping[str, Source]):
    """Some of the tensors, opened when they are asked for."""

    def __init__(self, sources: Mapping[str, Source], names: list[str]) -> None:
        self._sources, self._names = sources, names

    def __getitem__(self, name: str) -> Source:
        return self._sources[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _check_names(names: list[str]) -> None:
    """Refuse names that a .npz file cannot have.

    Raises:
        Refused: one has a null character, is too long, or would be read as another.
    """
    taken = {*names}
    for name in names:
        is_another = name.endswith(".npy") and name.removesuffix(".npy") in taken
        if "\0" in name or len(name.encode()) > 65000 or is_another:
            raise Refused(f"'{name[:100]}': a .npz file cannot have this name; export .safetensors")


def _note_bfloat16(checkpoint: Checkpoint, names: list[str], form: str) -> None:
    bfloat16 = str(_format.DTYPES["BF16"])
    count = sum(checkpoint.kind(name)[0] == bfloat16 for name in names)
    if count:
        became = "float32 of the same values" if form == "float32" else "uint16 of the same bits"
        text = f"{_text.count(count, f'{bfloat16} tensor')}: written as {became}"
        print(f"slotwise: note: {text}", file=sys.stderr)


def _metadata(checkpoint: Checkpoint, names: list[str], whole: bool) -> dict[str, Any]:
    """The header of a whole checkpoint."""
    own, chosen = checkpoint.metadata, {*names}
    state = [name for name in own.get("state", ()) if name in chosen]
    return {
        "version": _format.VERSION,
        "id": secrets.token_hex(16),
        "parent": None,
        "config": own.get("config") if whole else None,
        "extra": own.get("extra") if whole else None,
        "variables": [name for name in names if name not in {*state}],
        "state": state,
    }


def _write_safetensors(
    out: Path,
    sources: Mapping[str, Source],
    metadata: dict[str, Any],
    check: Any,
    progress: bool | None,
) -> None:
    def last(place: Path) -> Exchange:
        check()
        yield None

    ranks, no_limit = ranks_of("export", []), 1 << 62
    try:
        opened = {name: sources[name] for name in sources}
        total = sum(map(_writer.size_of, opened.values()))
        with _progress.shown("export", total, progress) as advance:
            counted = {name: _Counted(source, advance) for name, source in opened.items()}
            _writer.write(ranks, out, counted, {}, metadata, no_limit, False, lambda: None, last)
    except ValueError as error:
        if isinstance(error, StateError):
            raise
        raise Refused(str(error)) from None


class _Counted:
    """A source that tells how much of it was read."""

    def __init__(self, source: Source, advance: Any) -> None:
        self.dtype, self.shape = source.dtype, source.shape
        self._source, self._advance = source, advance

    def piece(self, begin: int, end: int) -> Any:
        self._advance((end - begin) // 2)  # it is read twice: written, then compared
        return self._source.piece(begin, end)
