"""Saving checkpoints: whole ones, and those of touched rows."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise import _tracking
from slotwise._arguments import flag_of, shown
from slotwise._identity import memory_of
from slotwise._lock import held, of_users
from slotwise._overlap import Spans
from slotwise._tracking import TouchedRows
from slotwise.optimizers import _named
from slotwise.optimizers._kinds import COUNT, PATH
from slotwise.optimizers._named import Array, Group, Names, array_of
from slotwise.optimizers._serialization import plain
from slotwise.state import _format, _writer
from slotwise.state._memory import SomeRows, Source, WholeArray
from slotwise.state._reader import Part, Reader
from slotwise.state._writer import changed

Path_ = str | os.PathLike[str]
SHARD = 4 << 30
Touched = dict[TouchedRows, NDArray[np.bool_]]
ROWS = "@rows"  # after a variable's name: which rows of it a delta holds


@dataclass
class Snapshot:
    """What a checkpoint is of: arrays by name, none of them copied."""

    variables: dict[str, Array]
    state: dict[str, Array]
    owners: dict[str, Array]  # of slots, the variables beside which they are
    config: Any
    touched: Touched  # which rows were, of what is tracked

    @property
    def arrays(self) -> dict[str, Array]:
        return {**self.variables, **self.state}

    def of(self, owner: Array) -> list[str]:
        """The names of a variable and its slots."""
        found = [name for name, array in self.variables.items() if array is owner]
        return found + [name for name, array in self.owners.items() if array is owner]

    def count_from(self, identity: str) -> None:
        """Tracked rows count from this checkpoint on."""
        for array in self.variables.values():
            touched = _tracking.find(array)
            if touched is not None and touched in self.touched:
                own = {name: self.arrays[name] for name in self.of(array)}
                count_from(touched, identity, own)


def count_from(touched: TouchedRows, identity: str, own: Mapping[str, Array]) -> None:
    """Rows count from a checkpoint on, that has these arrays of a variable."""
    touched.count_from(identity, own)
    for array in own.values():  # whoever assigns to a slot changes rows, too
        _tracking.follow(array, touched)


@contextmanager
def excluding_steps(group: Group, names: Names) -> Iterator[Touched]:
    """No step changes these optimizers and variables meanwhile.

    Yields which rows were touched of what is tracked. They do so no longer, unless an exception
    comes; those that are marked from now on (by an assignment in another thread, say) do.
    """
    arrays = [array_of(value) for value in names.values()]
    tracked = {t for array in arrays if (t := _tracking.find(array)) is not None}
    own = {each._lock for each in group.values()} | {touched.lock for touched in tracked}
    spans = Spans(memory_of(array) for array in arrays)
    while True:
        locks = own.union(of_users(spans))
        with held(locks):
            touched, is_done = {each: each.set_aside() for each in tracked}, False
            try:
                # Who met them meanwhile marked rows, and has perhaps not changed them yet.
                if locks.issuperset(of_users(spans)):
                    yield touched
                    is_done = True
                    return
            finally:
                if not is_done:
                    for each, rows in touched.items():
                        each.put_back(rows)


@contextmanager
def _moment(op: str, optimizer: Any, variables: Names | Iterable[Any] | None) -> Iterator[Snapshot]:
    """What is to be saved; meanwhile no step changes it."""
    group, names = _named.grouped(op, optimizer), _named.named(op, variables)
    own = {name: array_of(value) for name, value in names.items()}
    with excluding_steps(group, names) as touched:
        if group and variables is not None:
            _named.refuse_left_out(op, group, names)
        found = _named.entries(op, group, names)
        _named.refuse_repeated(op, own.keys() & found.arrays.keys())
        config = _named.config_of(group)
        yield Snapshot(own, found.arrays, found.owners, config, touched)


def save(
    path: Path_,
    *,
    optimizer: Any = None,
    variables: Names | Iterable[Any] | None = None,
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
        optimizer: an optimizer; its count of iterations, hyperparameters, slots and config. Or a
            dict of several by name: their state is called ``gen/iterations`` and so on.
        variables: Variables with names that differ, or a dict from names to Variables or arrays:
            all that the optimizers train, and others. None saves the optimizers' state alone.
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
    return save_numbered(
        path,
        None,
        optimizer=optimizer,
        variables=variables,
        extra=extra,
        max_shard_size=max_shard_size,
        verify=verify,
        progress=progress,
    )


def save_numbered(
    path: Path_,
    sequence: int | None,
    *,
    optimizer: Any = None,
    variables: Names | Iterable[Any] | None = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    verify: bool = False,
    progress: bool | None = None,
) -> str:
    """The same, numbered among those in a folder."""
    path, size = PATH("save", "path", path), COUNT("save", "max_shard_size", max_shard_size)
    identity = secrets.token_hex(16)
    with _moment("save", optimizer, variables) as found:
        metadata = _metadata(identity, found, extra)
        if sequence is not None:
            metadata["sequence"] = sequence
        _write(path, _whole(found), metadata, size, verify, progress)
        found.count_from(identity)
    return identity


def save_delta(
    path: Path_,
    *,
    since: Path_,
    optimizer: Any = None,
    variables: Names | Iterable[Any] | None = None,
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
    path = PATH("save_delta", "path", path)
    size = COUNT("save_delta", "max_shard_size", max_shard_size)
    parent, identity = _identity(since), secrets.token_hex(16)
    with _moment("save_delta", optimizer, variables) as found:
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
        metadata = {**_metadata(identity, found, extra), "parent": parent, "rows": rows}

        def check() -> None:
            """Of other rows, the writer does not see whether they change."""
            for name, touched in by_rows.items():
                if touched.rows.size:
                    raise changed(name)

        _write(path, sources, metadata, size, verify, progress, check)
        found.count_from(identity)
    return identity


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
    _named.refuse_repeated("save_delta", {name + ROWS} & sources.keys())
    sources[name + ROWS] = WholeArray(ids)


def _identity(since: Path_) -> str:
    text = PATH("save_delta", "since", since)
    if re.fullmatch("[0-9a-f]{32}", text) and not os.path.exists(text):
        return text
    with Reader(text) as reader:
        identity = reader.metadata.get("id")
    if identity is None:
        raise ValueError(f"save_delta: since: {text}: slotwise did not write it")
    return str(identity)


def _metadata(identity: str, found: Snapshot, extra: Any) -> dict[str, Any]:
    try:
        json.dumps(extra := plain(extra))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"save: extra: expected what JSON can hold, got {shown(extra)}: {error}"
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


def _write(
    path: Path_,
    sources: dict[str, Source],
    metadata: dict[str, Any],
    max_shard_size: int,
    verify: bool,
    progress: bool | None,
    check: Callable[[], None] = lambda: None,
) -> None:
    verify = flag_of("save", "verify", verify)
    progress = None if progress is None else flag_of("save", "progress", progress)
    if "__metadata__" in sources:
        raise ValueError("save: variables: expected other names than '__metadata__'")

    def prove(place: Path) -> None:
        with Reader(place) as reader:
            parts = [Part(reader.tensor(n), 0, reader.tensor(n).size, None) for n in reader.names]
            reader.fill(parts)

    proof = prove if verify else lambda place: None
    _writer.write(Path(path), sources, metadata, max_shard_size, progress, check, proof)
