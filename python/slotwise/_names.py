# SPDX-License-Identifier: Apache-2.0
"""Variables by name: what whoever keeps state calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _core
from slotwise._variable import Variable, own_array

Array = NDArray[Any]
Names = Mapping[str, Any]  # variables or arrays, by name
Kind = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype


class Module(Protocol):
    """A module of PyTorch."""

    def named_parameters(self) -> Iterable[tuple[str, Any]]: ...


Given = Names | Iterable[Any] | Module | None  # what callers give as variables


def named(op: str, variables: Given) -> dict[str, Any]:
    """Variables by name: a dict, those of a list by the names that they have, or of a module.

    A tensor of PyTorch, as a value of a dict, is a Variable of the same memory here. A table that
    is spread over ranks, which has a Variable as its ``local``, is that.

    Raises:
        TypeError: bare arrays in a list; masked arrays, of which a part has no value.
        ValueError: several of one name.
    """
    if variables is None:
        return {}
    if hasattr(variables, "named_parameters"):
        variables = _of_module(op, variables)
    if isinstance(variables, Mapping):
        found = {name: here(value) for name, value in variables.items()}
        for name, value in found.items():
            _arguments.text_of(op, "keys of variables", name)
            if is_tensor(value):
                array = array_of_tensor(op, f"variables: '{name}'", value)
                is_trained = value.requires_grad and array.size > 0
                found[name] = Variable(array, trainable=is_trained, name=name)
            elif not isinstance(value, (Variable, np.ndarray)):
                got = type(value).__name__
                what = f"{op}: variables: '{name}'"
                raise TypeError(f"{what}: expected a Variable or an array, got {got}")
    else:
        found, repeated = {}, set()
        for variable in map(here, _arguments.items_of(op, "variables", "Variables", variables)):
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


def here(value: Any) -> Any:
    """The Variable that is on this rank, of a table that is spread over ranks."""
    own = getattr(value, "local", None)
    return own if isinstance(own, Variable) else value


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of PyTorch, which need not be there."""
    return hasattr(value, "requires_grad") and hasattr(value, "detach")


def array_of_tensor(op: str, name: str, tensor: Any) -> Array:
    """An array over a tensor's memory.

    Raises:
        TypeError, ValueError: it is on another device, not dense, or of a dtype that NumPy lacks;
            several of its elements are one in memory.
    """
    array = _core.as_array(op, name, tensor.detach())
    spread = zip(array.shape, array.strides, strict=True)
    if array.size and any(size > 1 and not stride for size, stride in spread):
        raise ValueError(
            f"{op}: {name}: expected elements of their own in memory, got an expanded tensor of "
            f"shape {array.shape}; pass what it was expanded from, or a copy (clone())"
        )
    return array


def _of_module(op: str, module: Any) -> dict[str, Any]:
    """A module's parameters, and the buffers that its ``state_dict`` has."""
    kept = module.state_dict().keys()
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    lists = (module.named_parameters, module.named_buffers)
    known = {name for each in lists for name, _ in each(remove_duplicate=False)}
    if others := (kept - known) | (parameters.keys() - kept):
        raise ValueError(
            f"{op}: variables: expected a module whose state_dict has its parameters and buffers, "
            f"and nothing else, got one that differs in {sorted(others)}; pass a dict from names "
            "to tensors"
        )
    return parameters | {name: buffer for name, buffer in buffers.items() if name in kept}


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
    """The array of a variable, or an array itself; rows of it may have steps to make up for."""
    return own_array(value) if isinstance(value, Variable) else value


def require_current(op: str, arrays: Mapping[str, Array], known: Sequence[Any] = ()) -> None:
    """Raise if rows of arrays have steps to make up for.

    Args:
        op: what errors begin with.
        arrays: by name.
        known: what puts off steps of which that is known.

    Raises:
        ValueError: they do.
    """
    for name, array in arrays.items():
        _core.require_current(op, repr(name), array, [*known])


def prefix_of(name: str, prefixes: Iterable[str]) -> str:
    """What precedes the name of a variable: of an optimizer among several, or nothing."""
    return next((prefix for prefix in prefixes if name.startswith(prefix)), "")


def owner_of(name: str, variables: Names) -> str | None:
    """The variable that a slot of this name is beside."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in variables:
            return name
    return None
