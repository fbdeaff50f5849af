# SPDX-License-Identifier: Apache-2.0
"""What `sparse="deferred"` adds to a step: the rows that a gradient leaves out are put off."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise import _core
from slotwise._names import Kind
from slotwise._stateful import CLOCK, STEPS
from slotwise._variable import Deferred, Variable, described, flush, own_array
from slotwise.distributed._parts import part_of
from slotwise.optimizers._description import Description, Options, Update
from slotwise.optimizers._state import Entry

MODE = "deferred"

_MOVED = {rule["name"]: rule["is_deferrable"] for rule in _core.RULES}


class _Held(NamedTuple):
    """What puts off the steps of an entry."""

    moved: Moved
    handle: Deferred  # of the variable
    end: weakref.finalize[..., Any]  # what is done when the optimizer ends

    @property
    def core(self) -> _core.Deferral:
        return self.handle.core


class Moved(NamedTuple):
    """What moves of a variable, and by which rule."""

    update: Update
    slots: tuple[Variable, ...]  # in the order of the rule's
    average: Variable | None

    def is_as(self, other: Moved) -> bool:
        """Whether it is the same of the same variables."""
        return self._key() == other._key()

    def _key(self) -> tuple[Any, ...]:
        return self.update.rule, self.update.scope, *map(id, (*self.slots, self.average))

    def core(self, op: str, variable: Variable) -> _core.Deferral:
        """What puts off the steps of a variable, whose rows stand at the latest."""
        arrays = tuple(map(own_array, (variable, *self.slots)))
        average = None if self.average is None else own_array(self.average)
        last, parted = np.zeros(len(arrays[0]), np.int32), part_of(arrays[0])
        rows = len(last) if parted is None else parted.shape[0]
        return _core.Deferral(op, self.update.rule, arrays, self.update.scope, average, last, rows)


class _Taking(NamedTuple):
    """State of steps that were put off, which is being loaded."""

    arrays: dict[str, NDArray[Any]]
    core: _core.Deferral
    flushes: bool  # as the optimizer puts off none

    def check(self, clock: NDArray[Any]) -> None:
        if not np.array_equal(clock[:2], self.core.clock[:2]):  # the format; which rule of what
            raise ValueError(
                "deferred_clock: expected that of a variable of the same kind, updated by the same "
                "rule, got another's"
            )

    def finish(self) -> None:
        steps = self.arrays.get(STEPS)
        if steps is None:
            steps = np.zeros_like(self.core.last)
        self.core.restore(steps, self.arrays[CLOCK])
        if self.flushes:
            self.core.flush()


def refusal(description: Description, options: Options) -> str | None:
    """Why no steps of an optimizer can be put off; None if they can."""
    if description.is_whole:
        return "a step depends on the whole variable"
    update = description.update(options)
    if update.scope != "rows" and not _MOVED[update.rule]:
        return f"how a row without a gradient moves by {update.rule} has no closed form"
    return None


def of(optimizer: Any, entry: Entry, place: int | None, moved: Moved) -> Deferred:
    """What puts off the steps of a variable, made if there is none yet."""
    variable = entry.variable
    _require(optimizer, entry, place)
    known: _Held | None = entry.deferral
    if known is not None and known.moved.is_as(moved):
        return known.handle
    optimizer._prepared_steps.forget()  # which would go on with it, or without any
    if known is not None:
        flush(known.core)
        known.end.detach()
    if (other := variable._deferred) is not None:
        if other.core.is_behind and other.owner() not in (None, optimizer):
            raise ValueError(
                f"{optimizer._op}: {described(variable, place)}: expected a variable of which no "
                "other optimizer puts off steps, got one of another with sparse='deferred'"
            )
        flush(other.core)
    core, owner = moved.core(optimizer._op, variable), weakref.ref(optimizer)
    for number, each in enumerate((variable, *moved.slots), -1):
        each._deferred = Deferred(core, number, owner)
    if moved.average is not None:
        moved.average._deferred = Deferred(core, -2, owner)
    # Nobody could make up for the steps then; the array may go on without the variable, too.
    end = weakref.finalize(optimizer, flush, core)
    end.atexit = False
    handle = variable._deferred
    assert handle is not None
    entry.deferral = _Held(moved, handle, end)
    return handle


def _require(optimizer: Any, entry: Entry, place: int | None) -> None:
    where = f"{optimizer._op}: {described(entry.variable, place)}"
    if reason := refusal(optimizer.description, optimizer._options()):
        raise ValueError(f"{where}: expected another mode than sparse='deferred': {reason}")
    if entry.is_bare:
        raise TypeError(
            f"{where}: expected a slotwise.Variable with sparse='deferred', which shows its rows "
            "as they are now, got an array, which cannot"
        )
    if (file := _file_of(own_array(entry.variable))) is not None:
        raise ValueError(
            f"{where}: expected memory of this process with sparse='deferred', got {file}, in "
            "which rows would be left behind when the process ends"
        )
    if entry.variable.constraint is not None:
        raise ValueError(
            f"{where}: expected no constraint with sparse='deferred', got one, which reads all "
            "rows after every step"
        )


def _file_of(array: Any) -> str | None:
    """What an array lies in, if that outlives the process."""
    while array is not None:
        if isinstance(array, (np.memmap, mmap.mmap)):
            return f"a {type(array).__name__}"
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return None


class Flushed:
    """An optimizer of which steps can be put off."""

    sparse: str
    description: Description
    _lock: Any
    _variables: Any

    @property
    def _op(self) -> str:
        raise NotImplementedError

    def flush(self, variable: Any = None) -> None:
        """Have all rows make up for the steps that they missed, with ``sparse="deferred"``.

        Args:
            variable: whose rows; None for all variables.

        Raises:
            ValueError: a variable that the optimizer has not met.

        Example:
            >>> import numpy as np, slotwise
            >>> table = slotwise.Variable(np.zeros((4, 2), np.float32), name="table")
            >>> opt = slotwise.optimizers.Adam(sparse="deferred")
            >>> row = slotwise.IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
            >>> for _ in range(3):
            ...     _ = opt.apply_gradients([(row, table)])
            >>> opt.flush(table)
        """
        op = f"{self._op.partition('.')[0]}.flush"
        with self._lock.step():
            entries = [*self._entries()]  # type: ignore[attr-defined]
            if variable is not None:
                found = self._variables.find(variable, op)
                if found is None:
                    what = described(variable)
                    raise ValueError(f"{op}: variable: expected one that was updated, got {what}")
                entries = [found]
            for entry in entries:
                if entry.deferral is not None:  # the variable may have another's by now
                    flush(entry.deferral.core)

    def _moved(self, entry: Entry) -> Moved:
        """What moves of a variable without a gradient, as Keras means the optimizer."""
        optimizer: Any = self
        update = self.description.update(optimizer._options())
        averages, _ = optimizer._extras([entry])
        slots = tuple(optimizer._slot_beside(entry, role) for role in update.slots)
        return Moved(update, slots, averages[0] if averages else None)

    def _deferral(self, entry: Any) -> _core.Deferral | None:
        return None if entry.deferral is None else entry.deferral.core

    def _taking(self, variable: Any, kinds: Mapping[str, Kind]) -> _Taking | None:
        optimizer: Any = self
        if CLOCK not in kinds or refusal(self.description, optimizer._options()):
            return None
        (size, *more), dtype = kinds[CLOCK]
        if more or dtype != np.float64:
            return None
        entry = self._variables.find(optimizer._share_of(variable), self._op)
        arrays = {CLOCK: np.empty(size)}
        if STEPS in kinds:
            arrays[STEPS] = np.empty(len(own_array(entry.variable)), np.int32)
        moved = self._moved(entry)
        if self.sparse != MODE:
            return _Taking(arrays, moved.core(self._op, entry.variable), flushes=True)
        handle = of(self, entry, None, moved)
        if isinstance(variable, Variable):  # it may be another one of the same memory
            variable._deferred = handle
        return _Taking(arrays, handle.core, flushes=False)
