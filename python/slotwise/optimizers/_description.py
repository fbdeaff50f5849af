"""The declarative description of an optimizer, from which each API makes its classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

Float: TypeAlias = Any  # a NumPy float32 or float64

# What a sparse gradient changes: rows of the variable and its slots that it has, all rows of the
# slots, or all rows of all.
Scope: TypeAlias = Literal["rows", "slots", "whole"]


class Kind(Enum):
    HYPER = "hyper"  # may change: a number, a callable, a schedule or an array
    NUMBER = "number"
    FLAG = "flag"


@dataclass(frozen=True)
class Parameter:
    """A parameter of the constructor."""

    name: str
    default: Any
    kind: Kind = Kind.HYPER
    # Rounded to float32 first, then to the type that is computed in (what Keras's variables of
    # hyperparameters do); else rounded once.
    through_float32: bool = True
    check: Callable[[str, Any], None] | None = None  # raises if the value is none that may be
    keyword_only: bool = False


@dataclass(frozen=True)
class Slot:
    """An array beside each variable, of its shape and dtype."""

    name: str
    initial: str | None = None  # the parameter that holds its initial value; None: 0
    exists: Callable[[Any], bool] | None = None  # asked of the optimizer; None: always


@dataclass(frozen=True)
class Update:
    """Which kernel updates a variable."""

    rule: str  # a row of the registry
    slots: tuple[str, ...]  # in the order of the rule's
    scope: Scope  # of a sparse gradient, in the meaning that is Keras's
    attrs: tuple[bool, ...] = ()


class Numbers(Protocol):
    """The numbers of one step, in the type that is computed in."""

    @property
    def type(self) -> type[Float]: ...

    @property
    def lr(self) -> Float: ...

    @property
    def step(self) -> int:
        """From 1 on."""
        ...

    def __getitem__(self, parameter: str) -> Float: ...

    def power(self, parameter: str) -> Float:
        """parameter^step"""
        ...


@dataclass(frozen=True)
class Description:
    """An optimizer in one API."""

    name: str
    parameters: tuple[Parameter, ...]
    slots: tuple[Slot, ...]
    update: Callable[[Any], Update]  # asked of the optimizer: flags choose among kernels
    coefficients: Callable[[Numbers], Mapping[str, Any]]  # of the kernel, by their names
    config: tuple[str, ...]  # keys, in order, after those that all optimizers have
    name_before: str | None = None  # the parameter that `name` stands before; None: at the end
    interleaved: bool = False  # weights: all slots of a variable, then those of the next
    optional_iterations: bool = False  # a list of weights may lack the count of iterations
    spare_slots: int = 0  # a list of weights may have so many more slots (older formats)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}


def momentum_in_range(name: str, value: Any) -> None:
    """Of a number: in [0, 1]."""
    if isinstance(value, (int, float)) and not 0 <= value <= 1:
        raise ValueError(
            f"`{name}` must be between [0, 1]. Received: {name}={value} (of type {type(value)})."
        )


def not_negative(name: str, value: Any) -> None:
    if value < 0:
        raise ValueError(f"`{name}` needs to be positive or zero. Received: {name}={value}.")


def not_positive(name: str, value: Any) -> None:
    if value > 0:
        raise ValueError(f"`{name}` needs to be negative or zero. Received: {name}={value}.")


def power(base: Float, exponent: float | Float) -> Float:
    """base^exponent, computed in float64 and rounded once."""
    try:
        return type(base)(math.pow(base, exponent))
    except OverflowError:
        return type(base)(math.inf)


def compute_type(dtype: np.dtype[Any]) -> type[Float]:
    """The type that arrays of a dtype are computed in: float32 for 16-bit ones."""
    return np.float64 if dtype == np.float64 else np.float32
