# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that a command reads: a file or folder, with its deltas."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from slotwise._cli._errors import Refused
from slotwise._cli._text import printable
from slotwise.state import Reader, _atomic, _index, _stream
from slotwise.state._load import Content
from slotwise.state._memory import Source

STATE, VARIABLE, ROWS = "state", "variable", "rows"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", help="a checkpoint: a folder or a .safetensors file"
    )
    add_deltas(parser, "--deltas", "PATH")


def add_deltas(parser: argparse.ArgumentParser, option: str, what: str) -> None:
    text = f"deltas that were saved since {what}, in order: their rows take the place of its own"
    parser.add_argument(option, nargs="+", default=[], metavar="DELTA", help=text)


class Checkpoint:
    """What a base and its deltas make; or what one file or folder has.

    Args:
        path: the base.
        deltas: in order.
        is_whole: whether a delta without its base is refused.

    Attributes:
        metadata: of the last delta; empty if slotwise did not write it.
        sources: the tensors by name, each opened when it is asked for.

    Raises:
        Refused: a path leads nowhere.
        StateError: damage; deltas that do not follow one another.
    """

    def __init__(self, path: str, deltas: Sequence[str] = (), is_whole: bool = False) -> None:
        self.path = path
        with ExitStack() as stack:
            layers = [stack.enter_context(open_reader(each)) for each in (path, *deltas)]
            self.metadata: Mapping[str, Any] = layers[-1].metadata
            self._roles = dict.fromkeys(self.metadata.get("variables", ()), VARIABLE)
            self._roles |= dict.fromkeys(self.metadata.get("state", ()), STATE)
            base, self._last = layers[0].metadata, layers[-1]
            self._content: Content | None = None
            if is_whole and len(layers) == 1 and base and base["parent"] is not None:
                raise Refused(
                    f"{path}: it is a delta since checkpoint {base['parent']}: expected its base, "
                    "followed by --deltas"
                )
            self.sources: Mapping[str, Source]
            if len(layers) > 1 or (is_whole and base):
                self._content = Content(layers, {})
                self.sources = _stream.whole(self._content)
            else:
                self.sources = _stream.plain(self._last)
            self._stack = stack.pop_all()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def names(self) -> list[str]:
        """In the order of variables, then state; else as the file has them."""
        return [*self._roles, *(name for name in self.sources if name not in self._roles)]

    def kind(self, name: str) -> tuple[str, tuple[int, ...]]:
        """dtype and shape."""
        if self._content is not None:
            sizes, dtype = self._content.kind(name)
        else:
            tensor = self._last.tensor(name)
            sizes, dtype = tensor.shape, tensor.dtype
        return str(dtype), tuple(sizes)

    def size(self, name: str) -> int:
        """Bytes of a tensor."""
        if self._content is not None:
            sizes, dtype = self._content.kind(name)
            return math.prod(sizes) * dtype.itemsize
        return self._last.tensor(name).size

    def role(self, name: str) -> str:
        """What a tensor is; empty in files that slotwise did not write."""
        return self._roles.get(name, ROWS if self.metadata else "")

    def rows_of(self, name: str) -> str | None:
        """The tensor that says which rows a delta has of this one; None if it is whole."""
        if self._content is not None or not self.metadata:
            return None
        found: str | None = self.metadata["rows"].get(name)
        return found

    def check(self, name: str) -> None:
        """Refuse a name that there is not.

        Raises:
            Refused: it names similar ones.
        """
        if name not in self.sources:
            similar = difflib.get_close_matches(name, self.names, 3) or self.names[:3]
            known = ", ".join(f"'{printable(each)}'" for each in similar)
            raise Refused(f"{self.path}: no tensor '{name}'; similar: {known or 'none'}")


def open_reader(path: str) -> Reader:
    """A file or folder, opened.

    Raises:
        Refused: it leads nowhere, or to a folder that is no checkpoint.
        StateError: damage.
    """
    try:
        place = _atomic.current(Path(path))
        is_there, is_folder = place.exists(), place.is_dir()
        names = os.listdir(place) if is_folder else []
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    if not is_there:
        raise Refused(f"{path}: there is no such file or folder")
    if not is_folder and not place.is_file():
        raise Refused(f"{path}: expected a file or folder, got something else")
    if not is_folder and not os.access(place, os.R_OK):
        raise Refused(f"{path}: it may not be read")
    if is_folder and _index.INDEX not in names:
        steps = [name for name in names if re.fullmatch(r"step-\d+", name)]
        if steps:
            steps.sort(key=lambda name: int(name.removeprefix("step-")))
            raise Refused(f"{path}: a folder of checkpoints: expected one of {', '.join(steps)}")
        raise Refused(f"{path}: no checkpoint: there is no {_index.INDEX} in it")
    return Reader(path)
