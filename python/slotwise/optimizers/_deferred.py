# SPDX-License-Identifier: Apache-2.0
"""What `sparse="deferred"` adds to a step: the rows that a gradient leaves out are put off."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from slotwise import _core, _tracking
from slotwise._variable import Deferred, Variable, described, own_array
from slotwise.optimizers._description import Description, Options, Update
from slotwise.optimizers._state import Entry

MODE = "deferred"

_MOVED = {rule["name"]: rule["is_deferrable"] for rule in _core.RULES}


class _Held(NamedTuple):
    """What puts off the steps of an entry, and of which arrays beside the variable."""

    update: tuple[str, str]  # rule and scope
    beside: list[Variable | None]  # slots, and the average
    core: _core.Deferral

    def is_of(self, update: tuple[str, str], beside: Sequence[Variable | None]) -> bool:
        return self.update == update and [*map(id, self.beside)] == [*map(id, beside)]


def refusal(description: Description, options: Options) -> str | None:
    """Why no steps of an optimizer can be put off; None if they can."""
    if description.is_whole:
        return "a step depends on the whole variable"
    update = description.update(options)
    if update.scope != "rows" and not _MOVED[update.rule]:
        return f"how a row without a gradient moves by {update.rule} has no closed form"
    return None


def refuse_ranks(owner: str, sparse: str, comm: Any) -> None:
    if sparse == MODE and comm is not None:
        raise ValueError(f"{owner}: comm: expected None with sparse='deferred', got {comm!r}")


def of(
    optimizer: Any,
    entry: Entry,
    place: int,
    update: Update,
    slots: Sequence[Variable],
    average: Variable | None,
) -> _core.Deferral:
    """What puts off the steps of a variable, made if there is none yet."""
    variable = entry.variable
    _require(optimizer, entry, place)
    beside, rule = [*slots, average], (update.rule, update.scope)
    known: _Held | None = entry.deferral
    if known is not None:
        if known.is_of(rule, beside):
            return known.core
        known.core.flush()
        optimizer._prepared_steps.forget()  # which would go on with it
    other = variable._deferred
    if other is not None:
        if other.owner() not in (None, optimizer):
            raise ValueError(
                f"{optimizer._op}: {described(variable, place)}: expected a variable of which no "
                "other optimizer puts off steps, got one of another with sparse='deferred'"
            )
        other.core.flush()
    last = np.zeros(len(own_array(variable)), np.int32)
    core = _core.Deferral(
        *(optimizer._op, update.rule, tuple(map(own_array, (variable, *slots))), update.scope),
        *(None if average is None else own_array(average), last),
    )
    owner = weakref.ref(optimizer)
    for number, each in enumerate((variable, *slots), -1):
        each._deferred = Deferred(core, number, owner)
    if average is not None:
        average._deferred = Deferred(core, -2, owner)
    entry.deferral = _Held(rule, beside, core)
    return core


def _require(optimizer: Any, entry: Entry, place: int) -> None:
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
                if entry.deferral is None or not entry.deferral.core.is_behind:
                    continue
                for each in (entry.variable, *entry.deferral.beside):
                    if each is not None:
                        _tracking.mark(own_array(each))
                entry.deferral.core.flush()
