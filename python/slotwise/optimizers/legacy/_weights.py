# SPDX-License-Identifier: Apache-2.0
"""State of the legacy API: the count of iterations and the slots, as a list of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from slotwise import _arguments
from slotwise._variable import Variable, described, own_array
from slotwise.optimizers._state import (
    Belongings,
    Variables,
    count_of,
    initial,
    values_of,
)
from slotwise.optimizers._state_dict import StateDict


class Weights(Belongings, StateDict):
    """Keeps the variables that belong to an optimizer."""

    _growing: ClassVar[tuple[str, ...]] = ("_slot_names", "_weights")
    _name: str
    _step_count: Callable[[], int]

    def __init__(self) -> None:
        self._variables = Variables()
        self._slot_names: list[str] = []
        self._weights: list[Variable] = []
        self._iterations: Variable | None = None

    @property
    def iterations(self) -> Variable:
        """How many times gradients were applied: an int64 variable, the first of `weights`."""
        if self._iterations is None:
            self._iterations = Variable(np.zeros((), np.int64), trainable=False, name="iter")
            self._weights.append(self._iterations)
        return self._iterations

    @iterations.setter
    def iterations(self, value: Any) -> None:
        """A number is written into the variable; a variable takes its place."""
        count = count_of(type(self).__name__, value)
        if not isinstance(count, Variable):
            with self._lock.step():
                self.iterations.assign(count)
            return
        if self._iterations is not None:
            raise RuntimeError(
                "Cannot set `iterations` to a new Variable after the Optimizer weights have been "
                f"created. Here it is attempting to set `iterations` to {value!r}."
            )
        self._iterations = count
        self._weights.append(count)

    def _counted(self) -> int:
        return self._step_count()

    def _counter(self) -> Variable:
        return self.iterations

    def _set_step_count(self, count: int) -> None:
        self.iterations.assign(count)

    def _count_skipped(self) -> None:
        """Count a step that was left out."""
        self.iterations.assign_add(1)

    def add_slot(
        self,
        var: Any,
        slot_name: str,
        initializer: Any = "zeros",
        shape: tuple[int, ...] | None = None,
    ) -> Variable:
        """The slot of this name beside a variable; made if there is none yet.

        Args:
            var: the variable.
            slot_name: the slot's name.
            initializer: "zeros" or "ones", a function of shape and dtype, or a value.
            shape: the slot's shape; the variable's by default.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable([1.0, 2.0], name="w")
            >>> slotwise.optimizers.legacy.SGD().add_slot(var, "best").name
            'w/best'
        """
        op = f"{self._name}.add_slot"
        slot_name = _arguments.text_of(op, "slot_name", slot_name)
        with self._lock.step(), self._undone_if_refused():
            entry = self._variables.find(var, op) or self._met([var], op)[0]
            slots, variable = entry.slots, entry.variable
            if slot_name not in slots:
                size = variable.shape if shape is None else shape
                array = initial(op, initializer, size, variable.dtype)
                slot = Variable(array, trainable=False, name=f"{variable.name}/{slot_name}")
                entry.add_slot(slot_name, slot, initializer)
                self._weights.append(slot)
            if slot_name not in self._slot_names:
                self._slot_names.append(slot_name)
            return slots[slot_name]

    def get_slot(self, var: Any, slot_name: str) -> Variable:
        """The slot of this name beside a variable.

        Raises:
            KeyError: there is none.
        """
        op = f"{self._name}.get_slot"
        slot_name = _arguments.text_of(op, "slot_name", slot_name)
        entry = self._variables.find(var, op)
        slots = {} if entry is None else entry.slots
        if slot_name not in slots:
            raise KeyError(f"{op}: {described(var)} has no slot {slot_name!r}, but {list(slots)}")
        return slots[slot_name]

    def get_slot_names(self) -> list[str]:
        """The names of slots, in the order in which the first of each was made."""
        return list(self._slot_names)

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike | None = None,
        initializer: Any = "zeros",
        trainable: bool | None = None,
        **ignored: Any,
    ) -> Variable:
        """A variable for an optimizer's own use; it is not among `weights`."""
        op = f"{self._name}.add_weight"
        name = _arguments.text_of(op, "name", name)
        array = initial(op, initializer, shape, np.float32 if dtype is None else dtype)
        return Variable(array, trainable=trainable is not False, name=name)

    @property
    def weights(self) -> list[Variable]:
        """All state: the count of iterations, then slots in the order in which they were made."""
        return list(self._weights)

    def variables(self) -> list[Variable]:
        """The same as `weights`."""
        return self.weights

    def get_weights(self) -> list[Any]:
        """Copies of the values of `weights`."""
        with self._lock.step():
            return [weight.numpy() for weight in self._weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write values into `weights`.

        Args:
            weights: as many arrays, of the same shapes; converted to the weights' dtypes.

        Raises:
            ValueError: another number of arrays, or another shape. Nothing was written.
        """
        given = self._compatible_weights(values_of(f"{self._name}.set_weights", "weights", weights))
        if len(given) != len(self._weights):
            raise ValueError(
                # Two spaces are Keras's spelling; see `_kinds.py`.
                f"You called `set_weights(weights)` on optimizer {self._name} with a  weight list "
                f"of length {len(given)}, but the optimizer was expecting {len(self._weights)} "
                f"weights. Provided weights: {str(given)[:50]}..."
            )
        for weight, array in zip(self._weights, given, strict=True):
            if weight.shape != array.shape:
                raise ValueError(
                    f"Optimizer weight shape {weight.shape} not compatible with provided weight "
                    f"shape {array.shape}."
                )
        with self._lock.step():
            for weight, array in zip(self._weights, given, strict=True):
                weight.assign(array)

    # ----- by name -------------------------------------------------------------------------------

    def _own_state(self) -> dict[str, Any]:
        own = {id(slot) for entry in self._variables for slot in entry.slots.values()}
        own.add(id(self.iterations))
        rest = {weight.name: weight for weight in self._weights if id(weight) not in own}
        return {"iterations": self.iterations, **rest}

    def _memory(self) -> list[NDArray[Any]]:
        return [*super()._memory(), *map(own_array, self._weights)]
