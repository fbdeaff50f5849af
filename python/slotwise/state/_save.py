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
from typing import Any, NamedTuple

import numpy as np

from slotwise import _names, _tracking
from slotwise._arguments import flag_of, shown
from slotwise._names import Array, Given
from slotwise._tracking import TouchedRows
from slotwise.distributed._parts import Parted
from slotwise.optimizers._kinds import COUNT, PATH
from slotwise.optimizers._serialization import plain
from slotwise.state import _format, _writer
from slotwise.state._checksums import CHUNK, Running
from slotwise.state._errors import StateError
from slotwise.state._files import AnyPath
from slotwise.state._index import SUFFIX, Parts
from slotwise.state._memory import SomeRows, Source, WholeArray
from slotwise.state._ranks import Ranks
from slotwise.state._reader import Part, Reader
from slotwise.state._snapshot import Snapshot, moment, parts_known
from slotwise.state._spread import deal, kind_of, parted_of, ranks_of, same_everywhere, shares
from slotwise.state._writer import Spread, changed, size_of

SHARD = 4 << 30
ROWS = "@rows"  # after a variable's name: which rows of it a delta holds


def save(
    path: AnyPath,
    *,
    optimizer: Any = None,
    variables: Given = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
) -> str:
    """Write the state of training to a file or folder: safetensors, see docs/state.md.

    What is at the path stays as it is until the new checkpoint is complete and on the disk; then it
    is replaced in one step. It is of one moment: steps of other threads that would change any of it
    wait until it is written. What changes it otherwise (raw ops, assignments) is noticed.

    Args:
        path: a file that ends in ``.safetensors``; or a folder, in which large state is spread over
            several files.
        optimizer: an optimizer, of `slotwise.torch`, too: its count of iterations, hyperparameters,
            slots and config. Or a dict of several by name: their state is called
            ``gen/iterations`` and so on.
        variables: Variables with names that differ; a dict from names to Variables, arrays or
            PyTorch's tensors; or a module of PyTorch: all that the optimizers train, and others.
            None saves the optimizers' state alone.
        extra: anything of yours that JSON can hold.
        max_shard_size: bytes of a file in a folder from which on another one is begun; a larger
            tensor has a file of its own.
        verify: whether to read back and verify what was written before it takes the place.
        progress: whether to show a bar (with tqdm installed); by default, if it takes long.

    Returns:
        The id of the checkpoint.

    Raises:
        TypeError, ValueError: names, dtypes or ``extra`` that cannot be saved; variables left out.
        StateError: an array was changed meanwhile; with ``verify``, what was written is damaged.
            What was at the path is still there.
        FileExistsError, IsADirectoryError: the path is something else.
        OSError: the disk is full, say. What was at the path is still there.

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
    saving = _Saving("save", path, optimizer, variables, extra, max_shard_size, verify, progress)
    return saving.whole()


def save_numbered(path: AnyPath, sequence: int, **arguments: Any) -> str:
    """Write as `save` does, numbered among the checkpoints in a folder."""
    given = signature(save).bind(path, **arguments)
    given.apply_defaults()
    return _Saving("save", **given.arguments).whole(sequence)


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
) -> str:
    """Write what changed since a checkpoint: of tracked variables and their slots, touched rows.

    What is not tracked (see `slotwise.track`) is written whole. `slotwise.load` takes the base and
    the list of deltas.

    Args:
        path, optimizer, variables, extra, max_shard_size, verify, progress: as for `slotwise.save`.
        since: the path or id of the latest checkpoint, whole or a delta.

    Returns:
        The id of the delta.

    Raises:
        ValueError: rows are tracked since another checkpoint.
        TypeError, OSError: see `slotwise.save`.

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
        "save_delta", path, optimizer, variables, extra, max_shard_size, verify, progress
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

    def __post_init__(self) -> None:
        self.path = PATH(self.op, "path", self.path)
        self.max_shard_size = COUNT(self.op, "max_shard_size", self.max_shard_size)
        self.verify = flag_of(self.op, "verify", self.verify)
        if self.progress is not None:
            self.progress = flag_of(self.op, "progress", self.progress)

    def whole(self, sequence: int | None = None) -> str:
        """Write all of it. Returns the checkpoint's id."""
        with self._moment() as now:
            numbered = {} if sequence is None else {"sequence": sequence}
            return self._write(now, _whole(now.found), {}, numbered)

    def delta(self, since: AnyPath) -> str:
        """Write what changed since a checkpoint. Returns the delta's id."""
        parent = _identity(since)
        with self._moment() as now:
            found = now.found
            sources = _whole(found)
            rows: dict[str, str] = {}
            by_rows: dict[str, TouchedRows] = {}
            for name, array in found.variables.items():
                touched = _tracking.find(array)
                if touched is None or touched not in found.touched:
                    continue
                if touched.since is not None:
                    _use_rows(name, array, touched, parent, found, sources, rows)
                    by_rows[name] = touched

            def check() -> None:
                """The writer does not see whether rows change that it does not write."""
                for name, touched in by_rows.items():
                    if touched.rows.size:
                        raise changed(name)

            return self._write(now, sources, rows, {"parent": parent, "rows": rows}, check)

    @contextmanager
    def _moment(self) -> Iterator[_Moment]:
        """What is saved, and the ranks that save it together."""
        ranks = ranks_of(self.op, parts_known(self.op, self.optimizer, self.variables))

        def begin() -> tuple[Snapshot, dict[str, Parted]]:
            found = stack.enter_context(moment(self.op, self.optimizer, self.variables))
            parted = parted_of(found.arrays, found.owners)
            if parted and Path(self.path).suffix == SUFFIX:
                expected = "a folder for tables that are spread over ranks"
                raise ValueError(f"{self.op}: path: expected {expected}, got {self.path}")
            return found, parted

        with ExitStack() as stack:
            (found, parted), _ = ranks.agree(begin)
            yield _Moment(ranks, found, parted)

    def _write(
        self,
        now: _Moment,
        sources: Mapping[str, Source],
        rows: Mapping[str, str],
        beyond: Mapping[str, Any],
        check: Callable[[], None] = lambda: None,
    ) -> str:
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
        prove = partial(_prove, ranks) if self.verify else lambda place: None
        size, progress = self.max_shard_size, self.progress
        path = Path(self.path)
        _writer.write(ranks, path, whole, spread, metadata, size, progress, check, prove)
        found.count_from(identity)
        return str(identity)

    def _spread(
        self, now: _Moment, sources: Mapping[str, Source], metadata: Mapping[str, Any]
    ) -> dict[str, Spread]:
        """The tensors in parts; what is whole must be the same on all ranks."""
        if not now.parted:
            return {}
        arrays = now.found.arrays

        def describe() -> tuple[dict[str, Parts], dict[str, Any]]:
            kinds = {n: kind_of(self.op, n, arrays[n], parted) for n, parted in now.parted.items()}
            whole = {n: source for n, source in sources.items() if n not in kinds}
            return kinds, {
                "path": os.fspath(self.path),
                "max_shard_size": self.max_shard_size,
                "verify": self.verify,
                **{what: metadata[what] for what in ("config", "extra", "variables", "state")},
                **{f"'{name}'": _told(kind) for name, kind in kinds.items()},
                **{f"'{name}'": _sum_of(source) for name, source in whole.items()},
            }

        (kinds, told), _ = now.ranks.agree(describe)
        same_everywhere(self.op, now.ranks, told)
        dealt = deal(self.op, now.ranks, kinds, {n: p.runs for n, p in now.parted.items()})
        return {name: Spread(kind, sources[name], dealt[name]) for name, kind in kinds.items()}


class _Moment(NamedTuple):
    ranks: Ranks
    found: Snapshot
    parted: dict[str, Parted]


def _told(kind: Parts) -> Any:
    return [str(kind.dtype), list(kind.shape), kind.buckets]


def _sum_of(source: Source) -> Any:
    """What tells a whole array from another."""
    found, size = Running(), size_of(source)
    for begin in range(0, size, CHUNK):
        found.add(source.piece(begin, min(begin + CHUNK, size)))
    return [str(source.dtype), list(source.shape), f"content {found.value}"]


def _prove(ranks: Ranks, place: Path) -> None:
    """Read back what was written, and verify it: each rank a share."""
    with Reader(place) as reader:
        tensors = [reader.tensor(name) for name in reader.names]
        own = shares([(each.size, each.chunk) for each in tensors], ranks.size)[ranks.rank]
        reader.fill(
            Part(tensor, tensor.bounds(chunks[0])[0], tensor.bounds(chunks[-1])[1], None)
            for tensor, chunks in ((tensors[number], chunks) for number, chunks in own)
        )


def _whole(found: Snapshot) -> dict[str, Source]:
    for name, array in found.arrays.items():
        _format.check_dtype(name, array.dtype)
    return {name: WholeArray(array) for name, array in found.arrays.items()}


def _use_rows(
    name: str,
    array: Array,
    touched: TouchedRows,
    parent: str,
    found: Snapshot,
    sources: dict[str, Source],
    rows: dict[str, str],
) -> None:
    """Put touched rows in the place of whole arrays."""
    if touched.since != parent:
        raise ValueError(
            f"save_delta: since: '{name}' is tracked since checkpoint {touched.since}, got {parent}"
        )
    ids = np.flatnonzero(found.touched[touched]).astype(np.int64, copy=False)
    for part in found.of(array):
        whole = found.arrays[part]
        if part in touched.names and whole.ndim and whole.shape[0] == array.shape[0]:
            sources[part], rows[part] = SomeRows(whole, ids), name + ROWS
    _names.refuse_repeated("save_delta", {name + ROWS} & sources.keys())
    sources[name + ROWS] = WholeArray(ids)


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
