"""Saving checkpoints: whole ones, and those of touched rows."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slotwise import _tracking
from slotwise._tracking import TouchedRows
from slotwise.optimizers import _state_dict
from slotwise.optimizers._serialization import plain
from slotwise.optimizers._state_dict import Array, Names
from slotwise.state import _format, _writer
from slotwise.state._memory import SomeRows, Source, WholeArray
from slotwise.state._reader import Reader

Path_ = str | os.PathLike[str]
SHARD = 4 << 30
ROWS = "@rows"  # after a variable's name: which rows of it a delta holds


@dataclass
class Snapshot:
    """What a checkpoint is of: arrays by name, none of them copied."""

    variables: dict[str, Array]
    state: dict[str, Array]
    owners: dict[str, Array]  # of slots, the variables beside which they are
    config: Any

    @property
    def arrays(self) -> dict[str, Array]:
        return {**self.variables, **self.state}

    def of(self, owner: Array) -> list[str]:
        """The names of a variable and its slots."""
        found = [name for name, array in self.variables.items() if array is owner]
        return found + [name for name, array in self.owners.items() if array is owner]


def snapshot(optimizer: Any, variables: Names | Iterable[Any] | None) -> Snapshot:
    names = _state_dict.named(variables)
    own = {name: _state_dict.array_of(value) for name, value in names.items()}
    if optimizer is None:
        return Snapshot(own, {}, {}, None)
    check_optimizer("save", optimizer)
    found = _state_dict.entries(optimizer, names)
    _state_dict.refuse_repeated(own.keys() & found.arrays.keys())
    return Snapshot(own, found.arrays, found.owners, _state_dict.config_of(optimizer))


def check_optimizer(what: str, optimizer: Any) -> None:
    if not isinstance(optimizer, _state_dict.Stateful):
        got = type(optimizer).__name__
        raise TypeError(f"{what}: optimizer: expected one of slotwise.optimizers, got {got}")


def save(
    path: Path_,
    *,
    optimizer: Any = None,
    variables: Names | Iterable[Any] | None = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    progress: bool | None = None,
) -> str:
    """Write the state of training to a file or folder: safetensors, see docs/state.md.

    What is at the path stays as it is until the new checkpoint is complete and on the disk; then it
    is replaced in one step. Arrays are written from where they are.

    Args:
        path: a file that ends in ``.safetensors``; or a folder, in which large state is spread over
            several files.
        optimizer: an optimizer; its count of iterations, hyperparameters, slots and config.
        variables: Variables with names that differ, or a dict from names to Variables or arrays.
        extra: anything of yours that JSON can hold.
        max_shard_size: bytes of a file in a folder from which on another one is begun; a larger
            tensor has a file of its own.
        progress: whether to show a bar (with tqdm installed); by default, if it takes long.

    Returns:
        The id of the checkpoint.

    Raises:
        TypeError, ValueError: names, dtypes or ``extra`` that cannot be saved.
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
    found = snapshot(optimizer, variables)
    identity = secrets.token_hex(16)
    sources = _whole(found)
    metadata = _metadata(identity, found, extra)
    _write(path, sources, metadata, max_shard_size, progress)
    _restart(found, identity)
    return identity


def save_delta(
    path: Path_,
    *,
    since: Path_,
    optimizer: Any = None,
    variables: Names | Iterable[Any] | None = None,
    extra: Any = None,
    max_shard_size: int = SHARD,
    progress: bool | None = None,
) -> str:
    """Write what changed since a checkpoint: of tracked variables and their slots, touched rows.

    What is not tracked (see `slotwise.track`) is written whole. `slotwise.load` takes the base and
    the list of deltas.

    Args:
        path, optimizer, variables, extra, max_shard_size, progress: as for `slotwise.save`.
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
    parent = _identity(since)
    found = snapshot(optimizer, variables)
    sources = _whole(found)
    rows: dict[str, str] = {}
    for name, array in found.variables.items():
        touched = _tracking.find(array)
        if touched is not None and touched.since is not None:
            _use_rows(name, array, touched, parent, found, sources, rows)
    identity = secrets.token_hex(16)
    metadata = {**_metadata(identity, found, extra), "parent": parent, "rows": rows}
    _write(path, sources, metadata, max_shard_size, progress)
    _restart(found, identity)
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
    ids = touched.rows
    for part in found.of(array):
        whole = found.arrays[part]
        if part in touched.names and whole.ndim and whole.shape[0] == array.shape[0]:
            sources[part], rows[part] = SomeRows(whole, ids), name + ROWS
    _state_dict.refuse_repeated({name + ROWS} & sources.keys())
    sources[name + ROWS] = WholeArray(ids)


def _identity(since: Path_) -> str:
    text = os.fspath(since)
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
    except (TypeError, ValueError) as error:
        raise TypeError(f"save: extra: expected what JSON can hold: {error}") from None
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
    progress: bool | None,
) -> None:
    if max_shard_size < 1:
        raise ValueError(f"save: max_shard_size: expected at least 1, got {max_shard_size}")
    if "__metadata__" in sources:
        raise ValueError("save: variables: expected other names than '__metadata__'")
    _writer.write(Path(path), sources, metadata, max_shard_size, progress)


def _restart(found: Snapshot, identity: str) -> None:
    """Tracked rows count from this checkpoint on."""
    for array in found.variables.values():
        touched = _tracking.find(array)
        if touched is not None:
            own = found.of(array)
            restart(touched, identity, {name: found.arrays[name] for name in own})


def restart(touched: TouchedRows, identity: str, own: Mapping[str, Array]) -> None:
    """The same for one variable, with the arrays that the checkpoint has of it."""
    touched.restart(identity, own)
    for array in own.values():  # whoever assigns to a slot changes rows, too
        _tracking.follow(array, touched)
