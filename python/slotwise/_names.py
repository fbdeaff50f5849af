# SPDX-License-Identifier: Apache-2.0
"""Variables by name: what whoever keeps state calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments
from slotwise._variable import Variable

Array = NDArray[Any]
Names = Mapping[str, Any]  # variables or arrays, by name


def named(op: str, variables: Names | Iterable[Any] | None) -> dict[str, Any]:
    """Variables by name: a dict, or those of a list by the names that they have.

    Raises:
        TypeError: bare arrays in a list; masked arrays, of which a part has no value.
        ValueError: several of one name.
    """
    if variables is None:
        return {}
    if isinstance(variables, Mapping):
        found = dict(variables)
        for name, value in found.items():
            _arguments.text_of(op, "keys of variables", name)
            if not isinstance(value, (Variable, np.ndarray)):
                got = type(value).__name__
                what = f"{op}: variables: '{name}'"
                raise TypeError(f"{what}: expected a Variable or an array, got {got}")
    else:
        found, repeated = {}, set()
        for variable in _arguments.items_of(op, "variables", "Variables", variables):
            if not isinstance(variable, Variable):
                got = type(variable).__name__
                what = f"{op}: variables"
                raise TypeError(f"{what}: expected Variables, or a dict from names, got {got}")
            if variable.name in found:
                repeated.add(variable.name)
            found[variable.name] = variable
        refuse_repeated(op, repeated)
    for name, value in found.items():
        refuse_masked(f"{op}: variables: '{name}'", array_of(value))
    return found


def refuse_masked(what: str, array: Any) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{what}: expected an array, got one with a mask: fill what it hides")


def refuse_repeated(op: str, names: Iterable[str]) -> None:
    if found := sorted(names):
        raise ValueError(
            f"{op}: variables: expected names that differ, got several of {found}; pass a dict "
            "from names to variables"
        )


def array_of(value: Any) -> Array:
    return value.value if isinstance(value, Variable) else value


def owner_of(name: str, variables: Names) -> str | None:
    """The variable that a slot of this name is beside."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in variables:
            return name
    return None
