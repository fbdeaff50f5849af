# SPDX-License-Identifier: Apache-2.0
"""Saving checkpoints: whole ones, and those of touched rows."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from slotwise import _names, _tracking
from slotwise._arguments import flag_of, shown
from slotwise._names import Given
from slotwise._tracking import TouchedRows
from slotwise.distributed._placement import Placement
from slotwise.optimizers._kinds import COUNT, PATH
from slotwise.optimizers._serialization import plain
from slotwise.state import _background, _format, _writer
from slotwise.state._background import BackgroundSave
from slotwise.state._checksums import CHUNK, Running
from slotwise.state._errors import StateError
from slotwise.state._files import AnyPath
from slotwise.state._index import SUFFIX
from slotwise.state._memory import SomeRows, Source, WholeArray
from slotwise.state._ranks import Exchange, Ranks
from slotwise.state._reader import Reader
from slotwise.state._snapshot import Snapshot, communicators, moment
from slotwise.state._spread import (
    Own,
    deal,
    kind_of,
    parted_of,
    ranks_of,
    same_everywhere,
    shares,
    some_of,
)
from slotwise.state._writer import Spread, changed, size_of

SHARD = 4 << 30
ROWS = "@rows"  # after a variable's name: which rows of it a delta holds


@overload
def save(
    path: AnyPath,
    *,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: Literal[False] = False,
) -> str: ...
@overload
def save(
    path: AnyPath,
    *,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: Literal[True],
) -> BackgroundSave: ...
@overload
def save(
    path: AnyPath,
    *,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: bool,
) -> str | BackgroundSave: ...
def save(
    path: AnyPath,
    *,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: bool = False,
) -> str | BackgroundSave:
    """Write the state of training to a file or folder: safetensors, see docs/state.md.

    What is at the path stays as it is until the new checkpoint is complete and on the disk; then it
    is replaced in one step. It is of one moment: steps of other threads that would change any of it
    wait until it is written. What changes it otherwise (raw ops, assignments) is noticed.

    Where tables or slots are spread over ranks, all ranks call it, with the same arguments, and
    write one folder together.

    Args:
        path: a file that ends in ``.safetensors``; or a folder, in which large state is spread over
            several files.
        optimizer: an optimizer, of `slotwise.torch`, too: its count of iterations, hyperparameters,
            slots and config. Or a dict of several by name: their state is called
            ``gen/iterations`` and so on.
        variables: Variables (or tables on ranks) with names that differ; a dict from names to
            these, arrays or PyTorch's tensors; or a module of PyTorch: all that the optimizers
            train, and others. None saves the optimizers' state alone.
        extra: anything of yours that JSON can hold.
        max_shard_size: bytes of a file in a folder from which on another one is begun; a larger
            tensor has a file of its own.
        verify: whether to read back and verify what was written before it takes the place.
        progress: whether to show a bar (with tqdm installed); by default, if it takes long. There
            is none in the background.
        background: whether to return at once, and have another process write (on Linux). One is
            written at a time: the next save waits for it, and raises its error unless `result`
            did. Where it is not possible, a warning says why, and it is saved in the foreground.

    Returns:
        The id of the checkpoint; or, with ``background``, a `slotwise.state.BackgroundSave`.

    Raises:
        TypeError, ValueError: names, dtypes or ``extra`` that cannot be saved; variables left out.
        StateError: an array was changed meanwhile; with ``verify``, what was written is damaged.
            What was at the path is still there.
        FileExistsError, IsADirectoryError: the path is something else.
        OSError: the disk is full, say. What was at the path is still there.
        DistributedError: any of these on one of several ranks; all raise it.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> emb = slotwise.Variable(np.ones((4, 2), np.float32), name="emb")
        >>> opt = slotwise.optimizers.Adam()
        >>> _ = opt.apply_gradients([(np.ones((4, 2), np.float32), emb)])
        >>> path = tempfile.mkdtemp() + "/step-1"
        >>> _ = slotwise.save(path, optimizer=opt, variables=[emb], extra={"epoch": 3})
        >>> slotwise.load(path, optimizer=opt, variables=[emb]).extra
        {'epoch': 3}
    """
    saving = _Saving(
        "save", path, optimizer, variables, extra, max_shard_size, verify, progress, background
    )
    return saving.whole()


def save_numbered(
    path: AnyPath, sequence: int, then: Callable[[], Any], **arguments: Any
) -> str | BackgroundSave:
    """Write as `save` does, numbered among the checkpoints in a folder.

    Args:
        then: is called once it has taken its place.
    """
    given = signature(save).bind(path, **arguments)
    given.apply_defaults()
    return _Saving("save", **given.arguments, then=then).whole(sequence)


@overload
def save_delta(
    path: AnyPath,
    *,
    since: AnyPath,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: Literal[False] = False,
) -> str: ...
@overload
def save_delta(
    path: AnyPath,
    *,
    since: AnyPath,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: Literal[True],
) -> BackgroundSave: ...
@overload
def save_delta(
    path: AnyPath,
    *,
    since: AnyPath,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: bool,
) -> str | BackgroundSave: ...
def save_delta(
    path: AnyPath,
    *,
    since: AnyPath,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
    background: bool = False,
) -> str | BackgroundSave:
    """Write what changed since a checkpoint: of tracked variables and their slots, touched rows.

    What is not tracked (see `slotwise.track`) is written whole. `slotwise.load` takes the base and
    the list of deltas.

    Args:
        path, optimizer, variables, extra, max_shard_size, verify, progress, background: as for
            `slotwise.save`.
        since: the path or id of the latest checkpoint, whole or a delta.

    Returns:
        The id of the delta; or, with ``background``, a `slotwise.state.BackgroundSave`.

    Raises:
        ValueError: rows are tracked since another checkpoint.
        TypeError, OSError, DistributedError: see `slotwise.save`.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> folder, emb = tempfile.mkdtemp(), slotwise.Variable(np.zeros((100, 2)), name="emb")
        >>> _ = slotwise.track(emb)
        >>> base = slotwise.save(folder + "/base", variables=[emb])
        >>> opt = slotwise.optimizers.Adagrad(1.0)
        >>> grad = slotwise.IndexedSlices(np.ones((2, 2)), np.array([7, 3]), emb.shape)
        >>> _ = opt.apply_gradients([(grad, emb)])
        >>> _ = slotwise.save_delta(folder + "/delta", since=base, variables=[emb])
        >>> slotwise.load_array(folder + "/delta", "emb@rows").tolist()
        [3, 7]
        >>> state = slotwise.load(folder + "/base", deltas=[folder + "/delta"])
        >>> bool((state.arrays["emb"] == emb.value).all())
        True
    """
    saving = _Saving(
        "save_delta",
        path,
        optimizer,
        variables,
        extra,
        max_shard_size,
        verify,
        progress,
        background,
    )
    return saving.delta(since)


@dataclass
class _Saving:
    """What is to be saved, and how: the arguments that `save` and `save_delta` have in common."""

    op: str
    path: AnyPath
    optimizer: Any
    variables: Given
    extra: Any
    max_shard_size: int
    verify: bool
    progress: bool | None
    background: bool
    then: Callable[[], Any] = lambda: None  # to be done once it has taken its place

    def __post_init__(self) -> None:
        self.path = PATH(self.op, "path", self.path)
        if self.variables is not None:  # which may be an iterator
            self.variables = _names.named(self.op, self.variables)
        self.max_shard_size = COUNT(self.op, "max_shard_size", self.max_shard_size)
        self.verify = flag_of(self.op, "verify", self.verify)
        if self.progress is not None:
            self.progress = flag_of(self.op, "progress", self.progress)
        self.background = flag_of(self.op, "background", self.background)

    def whole(self, sequence: int | None = None) -> str | BackgroundSave:
        """Write all of it. Returns the checkpoint's id, or a handle if it is for the background."""
        ranks = self._ranks()
        numbered = {} if sequence is None else {"sequence": sequence}

        def write() -> str | BackgroundSave:
            with self._moment(ranks) as now:
                sources, _ = ranks.agree(lambda: _whole(now.found))
                return self._write(now, sources, numbered)

        saved = _in_turn(ranks, write)
        if isinstance(saved, str) or not saved.is_background:  # else it is done there
            self.then()
        return saved

    def delta(self, since: AnyPath) -> str | BackgroundSave:
        """Write what changed since a checkpoint. Returns what `whole` does."""
        ranks = self._ranks()

        def write() -> str | BackgroundSave:
            parent, _ = ranks.agree(lambda: _identity(since))
            with self._moment(ranks) as now:
                return self._write_rows(now, parent)

        return _in_turn(ranks, write)

    def _ranks(self) -> Ranks:
        """Those that save it together."""
        return ranks_of(self.op, communicators(self.op, self.optimizer, self.variables))

    @contextmanager
    def _moment(self, ranks: Ranks) -> Iterator[_Moment]:
        def begin() -> _Moment:
            found = stack.enter_context(moment(self.op, self.optimizer, self.variables))
            arrays = found.arrays
            parts = {
                name: Own(kind_of(self.op, name, arrays[name], parted), parted.runs)
                for name, parted in parted_of(arrays, found.owners).items()
            }
            if parts and Path(self.path).suffix == SUFFIX:
                expected = "a folder for tables that are spread over ranks"
                raise ValueError(f"{self.op}: path: expected {expected}, got {self.path}")
            return _Moment(ranks, found, parts)

        with ExitStack() as stack:
            yield ranks.agree(begin)[0]

    def _write_rows(self, now: _Moment, parent: str) -> str | BackgroundSave:
        """Write what changed of tracked rows, and the rest whole."""
        ranks = now.ranks
        sources, _ = ranks.agree(lambda: _whole(now.found))
        by_rows, _ = ranks.agree(lambda: _tracked(now, parent))
        same_everywhere(self.op, ranks, {"since": parent, "tracked": [*by_rows]})
        _names.refuse_repeated("save_delta", {n + ROWS for n in by_rows} & sources.keys())
        rows: dict[str, str] = {}
        for name, touched in by_rows.items():
            _use_rows(name, touched, now, sources, rows)

        def check() -> None:
            """The writer does not see whether rows change that it does not write."""
            for name, touched in by_rows.items():
                if touched.rows.size:
                    raise changed(name)

        return self._write(now, sources, {"parent": parent, "rows": rows}, check)

    def _write(
        self,
        now: _Moment,
        sources: Mapping[str, Source],
        beyond: Mapping[str, Any],
        check: Callable[[], None] = lambda: None,
    ) -> str | BackgroundSave:
        """Write a snapshot; ``beyond`` goes into the metadata. Tracked rows count from it on."""
        ranks, found = now.ranks, now.found
        identity = ranks.first(lambda: secrets.token_hex(16))

        def begin() -> dict[str, Any]:
            if "__metadata__" in sources:
                expected = "other names than '__metadata__'"
                raise ValueError(f"{self.op}: variables: expected {expected}")
            return {**_metadata(self.op, identity, found, self.extra), **beyond}

        metadata, _ = ranks.agree(begin)
        spread = self._spread(now, sources, metadata)
        if spread:
            metadata |= {"version": _format.PARTS_VERSION, "parts": [*spread]}
        whole = {name: source for name, source in sources.items() if name not in spread}
        prove = partial(_prove, ranks, self.verify)
        path, size = Path(self.path), self.max_shard_size
        write = partial(_writer.write, ranks, path, whole, spread, metadata, size)
        if self.background:

            def work(release: _background.Release) -> None:
                write(False, check, prove, release)
                self.then()

            begun = _background.begin(self.op, identity, path, ranks.size, found, whole, work)
            if begun is not None:
                return begun
        write(self.progress, check, prove)
        found.count_from(identity)
        return BackgroundSave(identity, path, False) if self.background else str(identity)

    def _spread(
        self, now: _Moment, sources: Mapping[str, Source], metadata: Mapping[str, Any]
    ) -> dict[str, Spread]:
        """The tensors in parts; what is whole must be the same on all ranks."""
        if not now.parts and now.ranks.size == 1:
            return {}

        def describe() -> dict[str, Any]:
            whole = {name: source for name, source in sources.items() if name not in now.parts}
            return {
                "path": os.fspath(self.path),
                "max_shard_size": self.max_shard_size,
                "verify": self.verify,
                **{what: value for what, value in metadata.items() if what != "version"},
                **{f"'{name}'": own.kind.told for name, own in now.parts.items()},
                **{f"'{name}'": _sum_of(source) for name, source in whole.items()},
            }

        same_everywhere(self.op, now.ranks, now.ranks.agree(describe)[0])
        dealt = deal(self.op, now.ranks, now.parts)
        return {
            name: Spread(own.kind, sources[name], dealt[name]) for name, own in now.parts.items()
        }


def _in_turn(ranks: Ranks, write: Callable[[], str | BackgroundSave]) -> str | BackgroundSave:
    """Write when no save is written in the background any more."""
    while True:
        ranks.agree(_background.settle)
        try:
            return write()
        except _background.Busy:
            pass


class _Moment(NamedTuple):
    """What is saved.

    Attributes:
        ranks: that save it together.
        parts: of which each has a part.
    """

    ranks: Ranks
    found: Snapshot
    parts: dict[str, Own]


def _sum_of(source: Source) -> Any:
    """What tells a whole array from another."""
    found, size = Running(), size_of(source)
    for begin in range(0, size, CHUNK):
        found.add(source.piece(begin, min(begin + CHUNK, size)))
    return [str(source.dtype), list(source.shape), f"content {found.value}"]


def _prove(ranks: Ranks, verify: bool, place: Path) -> Exchange:
    """Read back what was written, and verify it: each rank a share."""
    if verify:
        with Reader(place) as reader:
            tensors = [reader.tensor(name) for name in reader.names]
            own = shares([(each.size, each.chunk) for each in tensors], ranks.size)[ranks.rank]
            yield from reader.verify((tensors[number], chunks) for number, chunks in own)


def _whole(found: Snapshot) -> dict[str, Source]:
    for name, array in found.arrays.items():
        _format.check_dtype(name, array.dtype)
    return {name: WholeArray(array) for name, array in found.arrays.items()}


def _tracked(now: _Moment, parent: str) -> dict[str, TouchedRows]:
    """The variables whose touched rows are enough, by name."""
    found = {}
    for name, array in now.found.variables.items():
        touched = _tracking.find(array)
        if touched is None or touched not in now.found.touched or touched.since is None:
            continue
        if name in now.parts and not now.parts[name].kind.buckets:  # elements, which are no rows
            continue
        if touched.since != parent:
            raise ValueError(
                f"save_delta: since: '{name}' is tracked since checkpoint {touched.since}, "
                f"got {parent}"
            )
        found[name] = touched
    return found


def _use_rows(
    name: str,
    touched: TouchedRows,
    now: _Moment,
    sources: dict[str, Source],
    rows: dict[str, str],
) -> None:
    """Put touched rows in the place of whole arrays."""
    array, mask = now.found.variables[name], now.found.touched[touched]
    own, dealt = now.parts.get(name), None
    if own is None:
        ids = numbers = np.flatnonzero(mask).astype(np.int64, copy=False)
    else:
        dealt = some_of(now.ranks, own.runs, mask)
        ids, numbers = dealt.local, Placement.even(own.kind.units, 1).rows_at(dealt.places)
    for part in now.found.of(array):
        whole, beside = now.found.arrays[part], now.parts.get(part)
        is_alike = beside is None if own is None else beside is not None and beside.kind.buckets
        has_rows = whole.ndim > 0 and whole.shape[0] == array.shape[0]
        if part in touched.names and has_rows and is_alike:
            sources[part], rows[part] = SomeRows(whole, ids), name + ROWS
            if dealt is not None:
                now.parts[part] = dealt.part(whole.dtype, whole.shape[1:])
    sources[name + ROWS] = WholeArray(numbers)
    if dealt is not None:
        now.parts[name + ROWS] = dealt.part(numbers.dtype, ())


def _identity(since: AnyPath) -> str:
    text = PATH("save_delta", "since", since)
    if re.fullmatch("[0-9a-f]{32}", text) and not os.path.exists(text):
        return text
    with Reader(text) as reader:
        identity = reader.metadata.get("id")
    if identity is None:
        raise StateError(f"{text}: slotwise did not write it")
    return str(identity)


def _metadata(op: str, identity: str, found: Snapshot, extra: Any) -> dict[str, Any]:
    try:
        json.dumps(extra := plain(extra))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"{op}: extra: expected what JSON can hold, got {shown(extra)}: {error}"
        ) from None
    return {
        "version": _format.VERSION,
        "id": identity,
        "parent": None,
        "config": found.config,
        "extra": extra,
        "variables": [*found.variables],
        "state": [*found.state],
    }
