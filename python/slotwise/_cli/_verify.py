# SPDX-License-Identifier: Apache-2.0
"""`slotwise verify`."""

from __future__ import annotations

import argparse

from slotwise import StateError
from slotwise._cli import _checkpoint, _commands, _progress, _text
from slotwise._cli._checkpoint import Checkpoint, open_reader
from slotwise._cli._errors import DONE, FAILED
from slotwise.state import Reader
from slotwise.state._reader import Part

_LONG = """\
Read every byte of a checkpoint and compare the checksums; name all tensors that are damaged. With
--deltas, also whether each delta follows the one before."""


def add(commands: _commands.Commands) -> None:
    parser = _commands.command(commands, "verify", run, "compare all checksums", _LONG)
    _checkpoint.add(parser)
    _progress.add(parser)


def run(given: argparse.Namespace) -> int:
    if given.deltas:
        with Checkpoint(given.path, given.deltas, is_whole=True):
            pass  # they follow one another
    code = DONE
    for path in (given.path, *given.deltas):
        with open_reader(path) as reader:
            damage = _damage(reader, given.progress)
            count = _text.count(len(reader.names), "tensor")
            total = _text.size(sum(reader.tensor(name).size for name in reader.names))
            for text in damage:
                print(_text.printable(text))
            place = _text.printable(path)
            if not reader.metadata:
                print(f"{place}: not verified: slotwise did not write it, so it has no checksums")
            elif damage:
                print(f"{place}: {len(damage)} of {count} damaged")
            else:
                print(f"{place}: good: {count}, {total}")
            code = FAILED if damage or not reader.metadata else code
    return code


def _damage(reader: Reader, progress: bool | None) -> list[str]:
    """What is wrong, a line for each tensor."""
    tensors = [reader.tensor(name) for name in reader.names]
    parts = [Part(tensor, 0, tensor.size, None) for tensor in tensors]
    what = f"verify {_text.printable(reader.path)}"
    with _progress.shown(what, sum(each.size for each in tensors), progress) as advance:
        try:
            reader.fill(parts, True, advance)  # all at once is fastest
            return []
        except StateError:
            pass
    found = []
    for part in parts:
        try:
            reader.fill([part])
        except StateError as error:
            found.append(str(error))
    return found
