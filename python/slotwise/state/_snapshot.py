# SPDX-License-Identifier: Apache-2.0
"""One moment of optimizers and variables: what a checkpoint is of, while no step comes between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise import _names, _stateful, _tracking
from slotwise._identity import memory_of
from slotwise._lock import held, locks_of, of_users
from slotwise._names import Array, Given, Names, array_of
from slotwise._overlap import Spans
from slotwise._stateful import Group, Stateful
from slotwise._tracking import TouchedRows
from slotwise.distributed import Communicator
from slotwise.distributed._parts import part_of
from slotwise.optimizers import _configs

Touched = dict[TouchedRows, NDArray[np.bool_]]


@dataclass
class Snapshot:
    """What a checkpoint is of: arrays by name, none of them copied."""

    variables: dict[str, Array]
    state: dict[str, Array]
    owners: dict[str, Array]  # the variables beside which slots are
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
        """Count tracked rows from this checkpoint on."""
        for array in self.variables.values():
            touched = _tracking.find(array)
            if touched is not None and touched in self.touched:
                own = {name: self.arrays[name] for name in self.of(array)}
                count_from(touched, identity, own)


def count_from(touched: TouchedRows, identity: str, own: Mapping[str, Array]) -> None:
    """Count rows from a checkpoint on that has these arrays of a variable."""
    touched.count_from(identity, own)
    for array in own.values():  # whoever assigns to a slot changes rows, too
        _tracking.follow(array, touched)


def grouped(op: str, optimizer: Any) -> Group:
    """Optimizers by name: one or several, or nothing for None.

    Raises:
        TypeError: something else.
        ValueError: names that do not do, or one optimizer twice.
    """
    if optimizer is None:
        return {}
    if not isinstance(optimizer, Mapping):
        _refuse_others(f"{op}: optimizer", optimizer)
        return {"": optimizer}
    for name, each in optimizer.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"{op}: optimizer: expected names without '/', got {name!r}")
        _refuse_others(f"{op}: optimizer: '{name}'", each)
    if not optimizer:
        raise ValueError(f"{op}: optimizer: expected one or more, got an empty dict")
    if len(locks_of(optimizer.values())) < len(optimizer):
        raise ValueError(f"{op}: optimizer: expected ones that differ, got one under several names")
    return {f"{name}/": each for name, each in optimizer.items()}


def _refuse_others(what: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Stateful):
        got = type(optimizer).__name__
        raise TypeError(f"{what}: expected one of slotwise.optimizers or slotwise.torch, got {got}")


@contextmanager
def excluding_steps(group: Group, names: Names) -> Iterator[Touched]:
    """Let no step change these optimizers and variables meanwhile.

    Yields which rows were touched of what is tracked. They do so no longer, unless an exception
    comes; those that are marked from now on (by an assignment in another thread, say) do.
    """
    arrays = [array_of(value) for value in names.values()]
    tracked = {t for array in arrays if (t := _tracking.find(array)) is not None}
    own = locks_of(group.values()) | {touched.lock for touched in tracked}
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


def communicators(op: str, optimizer: Any, variables: Given) -> list[Communicator]:
    """The ranks of optimizers, and of parts among variables and slots that are there."""
    names = _names.named(op, variables)
    group = {} if isinstance(optimizer, str) else grouped(op, optimizer)
    with held(locks_of(group.values())):
        entries = [entry for each in group.values() for entry in _stateful.met(each)]
    values = [*names.values(), *(slot for entry in entries for slot in entry.slots.values())]
    values += [entry.variable for entry in entries]
    parts = (part_of(array_of(value)) for value in values)
    own = _stateful.communicators_of(group.values())
    return [*own, *(parted.comm for parted in parts if parted is not None)]


@contextmanager
def moment(op: str, optimizer: Any, variables: Given) -> Iterator[Snapshot]:
    """What is to be saved; meanwhile no step changes it."""
    group, names = grouped(op, optimizer), _names.named(op, variables)
    own = {name: array_of(value) for name, value in names.items()}
    with excluding_steps(group, names) as touched, _stateful.undone_if_refused(group.values()):
        if group and variables is not None:
            _stateful.refuse_left_out(op, group, names)
        found = _stateful.entries(op, group, names)
        known = _stateful.add_put_off(group, found, names)
        _names.require_current(op, own | found.arrays, known)
        _names.refuse_repeated(op, own.keys() & found.arrays.keys())
        config = _configs.config_of(group)
        yield Snapshot(own, found.arrays, found.owners, config, touched)
