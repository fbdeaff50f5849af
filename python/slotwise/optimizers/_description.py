"""The declarative description of an optimizer, from which each API makes its classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from slotwise.optimizers._kinds import FRACTION, HYPER, NOT_NEGATIVE, RATE, Hyper, Kind, Number

Float: TypeAlias = Any  # a NumPy float32 or float64

# What a sparse gradient changes: rows of the variable and its slots that it has, all rows of the
# slots, or all rows of all.
Scope: TypeAlias = Literal["rows", "slots", "whole"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of the constructor, and the attribute that it becomes."""

    name: str
    default: Any
    kind: Kind
    # Rounded to float32 first, then to the type that is computed in (what Keras's variables of
    # hyperparameters do); else rounded once.
    through_float32: bool = True
    keyword_only: bool = False


Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """An array beside each variable, of its dtype."""

    role: str  # what an `Update` calls it
    name: str = ""  # as users see it; by default as the role
    initial: str | None = None  # the parameter that holds its initial value; None: 0
    exists: Callable[[Any], bool] | None = None  # asked of the optimizer; None: always
    shape: Callable[[Shape], Shape | None] | None = None  # None: the variable's; of None: no slot

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.role)

    def shape_beside(self, variable: Shape) -> Shape | None:
        return variable if self.shape is None else self.shape(variable)


@dataclass(frozen=True)
class Update:
    """Which kernel updates a variable."""

    rule: str  # a row of the registry
    slots: tuple[str, ...]  # their roles, in the order of the rule's
    scope: Scope  # of a sparse gradient, in the meaning that is Keras's
    attrs: tuple[bool, ...] = ()


class Numbers(Protocol):
    """The numbers of one step, for a type that is computed in."""

    @property
    def optimizer(self) -> Any: ...

    @property
    def type(self) -> type[Float]: ...

    @property
    def lr(self) -> Float: ...

    @property
    def step(self) -> int:
        """From 1 on."""
        ...

    def __getitem__(self, parameter: str) -> Float:
        """Of the type, or a Python float if the kernel is to round it."""
        ...

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
    # Slots that a variable has all before the next variable has any; the others come after them,
    # each for all variables.
    interleaved: tuple[str, ...] = ()
    # Of parameters that all optimizers of the API have, those with another default here.
    defaults: tuple[tuple[str, Any], ...] = ()
    needs_dense_shape: bool = False  # of sparse gradients, which are made dense
    is_whole: bool = False  # an element's update depends on the whole variable
    optional_iterations: bool = False  # a list of weights may lack the count of iterations
    spare_slots: int = 0  # a list of weights may have so many more slots (older formats)
    # Arguments by which it differs what a sparse gradient changes, for `support_matrix`.
    variants: tuple[Mapping[str, Any], ...] = ({},)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def slot_names(self) -> dict[str, str]:
        """By role."""
        return {slot.role: slot.name for slot in self.slots}

    def slots_of(
        self, optimizer: Any, shapes: Sequence[Shape]
    ) -> Iterator[tuple[int, Slot, Shape]]:
        """The slots beside variables of these shapes, in the order in which they are made."""
        slots = [s for s in self.slots if s.exists is None or s.exists(optimizer)]
        together = [slot for slot in slots if slot.role in self.interleaved]
        order = [(i, slot) for i in range(len(shapes)) for slot in together]
        order += [(i, slot) for slot in slots if slot not in together for i in range(len(shapes))]
        for i, slot in order:
            shape = slot.shape_beside(shapes[i])
            if shape is not None:
                yield i, slot, shape


def exact(parameter: Parameter) -> Parameter:
    """The same parameter, not rounded to float32."""
    return replace(parameter, through_float32=False)


LEARNING_RATE = Parameter("learning_rate", 0.001, RATE)
EPSILON = Parameter("epsilon", 1e-7, NOT_NEGATIVE, through_float32=False)
DECAYING = Hyper(FRACTION)  # the share of a running mean that stays
_BETA = Hyper(Number(at_least=0, below=1))  # the same; 1 - beta is divided by
BETAS = (Parameter("beta_1", 0.9, _BETA), Parameter("beta_2", 0.999, _BETA))
MOMENTUM = Parameter("momentum", 0.0, HYPER)
MOMENTUM_IN_RANGE = replace(
    MOMENTUM,
    kind=Hyper(
        Number(
            at_least=0,
            at_most=1,
            words="`{name}` must be between [0, 1]. Received: {name}={value} (of type {type}).",
        )
    ),
)


def power(base: Float, exponent: float | Float) -> Float:
    """base^exponent, computed in float64 and rounded once."""
    try:
        return type(base)(math.pow(base, exponent))
    except OverflowError:
        return type(base)(math.inf)


def compute_type(dtype: np.dtype[Any]) -> type[Float]:
    """The type that arrays of a dtype are computed in: float32 for 16-bit ones."""
    return np.float64 if dtype == np.float64 else np.float32
