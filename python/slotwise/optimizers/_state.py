"""Arrays that belong to an optimizer: their initial values, and the variables they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from slotwise import _tables
from slotwise._variable import Variable

_INITIALIZERS = {"zeros": 0.0, "zero": 0.0, "ones": 1.0, "one": 1.0}


def initial(initializer: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An array by the name of an initializer, a function of shape and dtype, or a value."""
    if isinstance(initializer, str):
        if initializer not in _INITIALIZERS:
            expected = " or ".join(repr(name) for name in _INITIALIZERS)
            raise ValueError(f"initializer: expected {expected}, got {initializer!r}")
        initializer = _INITIALIZERS[initializer]
    if callable(initializer):
        # Held as it is: the slot may lie where the function put it, in a memory map, say.
        return np.asarray(initializer(shape, dtype=dtype), dtype)
    array = _tables.zeros(shape, dtype)
    if not (np.ndim(initializer) == 0 and initializer == 0):  # memory that is not touched is free
        array[...] = initializer
    return array


class NotCopied:
    """An optimizer: its slots belong to the variables that it has met."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError(
            "copy.deepcopy of an optimizer: expected from_config(get_config()) and set_weights, "
            "since slots belong to the variables that it has met"
        )


class Variables:
    """The variables that an optimizer has met, by the identity of their arrays.

    Bare arrays get a variable each. All are kept alive, so that no identity is used again.
    """

    def __init__(self) -> None:
        self._of_array: dict[int, Variable] = {}

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._of_array.values())

    def find(self, given: Any) -> Variable:
        """The variable of a variable or an array."""
        array = given.value if isinstance(given, Variable) else given
        known = self._of_array.get(id(array))
        if known is not None:
            return known
        if isinstance(given, Variable):
            variable = given
        elif isinstance(given, np.ndarray):
            variable = Variable(given)
        else:
            got = type(given).__name__
            raise TypeError(f"variable: expected a slotwise.Variable or an ndarray, got {got}")
        self._of_array[id(array)] = variable
        return variable


def constrain(var: Variable) -> None:
    """Give a variable the value that its constraint, if it has one, makes of it."""
    if var.constraint is not None:
        var.assign(var.constraint(var))


_used_names: dict[str, int] = {}


def unique_name(class_name: str) -> str:
    """The class's name in snake case; from the second time on, with a number."""
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)
    name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
    count = _used_names.get(name, 0)
    _used_names[name] = count + 1
    return f"{name}_{count}" if count else name
