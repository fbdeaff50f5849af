# SPDX-License-Identifier: Apache-2.0
"""The declarative description of an optimizer, from which each API makes its classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from slotwise.optimizers._kinds import FRACTION, HYPER, NOT_NEGATIVE, RATE, Hyper, Kind, Number
from slotwise.optimizers._numbers import Numbers

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
    needs: str | None = None  # the option that it is there with; None: always
    # None: the variable's shape. Where a function returns None, there is no slot.
    shape: Callable[[Shape], Shape | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.role)

    def shape_beside(self, variable: Shape) -> Shape | None:
        return variable if self.shape is None else self.shape(variable)


@dataclass(frozen=True)
class Update:
    """Which kernel updates a variable."""

    rule: str  # a row of the registry
    slots: tuple[str, ...]  # their roles, in the order of the rule's
    scope: Scope  # what a sparse gradient updates, as Keras means it
    attrs: tuple[bool, ...] = ()


Options: TypeAlias = Mapping[str, bool]  # whether they are on, by name


@dataclass(frozen=True)
class Description:
    """An optimizer in one API."""

    name: str
    parameters: tuple[Parameter, ...]
    slots: tuple[Slot, ...]
    update: Callable[[Options], Update]
    coefficients: Callable[[Numbers], Mapping[str, Any]]  # the kernel's, by their names
    config: tuple[str, ...]  # keys, in order, after those that all optimizers have
    # Parameters that choose among kernels and slots: flags, and numbers that are on above 0.
    options: tuple[str, ...] = ()
    name_before: str | None = None  # the parameter that `name` stands before; None: at the end
    # Slots that a variable has all before the next variable has any; the others come after them,
    # each for all variables.
    interleaved: tuple[str, ...] = ()
    # The parameters of all optimizers of the API that have another default here.
    defaults: tuple[tuple[str, Any], ...] = ()
    needs_dense_shape: bool = False  # sparse gradients are made dense, and need one
    is_in_keras3: bool = True
    is_whole: bool = False  # an element's update depends on the whole variable
    optional_iterations: bool = False  # a list of weights may lack the count of iterations
    spare_slots: int = 0  # a list of weights may have so many more slots (older formats)
    # Arguments by which it differs what a sparse gradient changes, for `support_matrix`.
    variants: tuple[Mapping[str, Any], ...] = ({},)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def read(self) -> tuple[str, ...]:
        """The parameters that a step reads, all except for the learning rate."""
        return tuple(p.name for p in self.parameters if p.name != LEARNING_RATE.name)

    @cached_property
    def exact(self) -> frozenset[str]:
        """The parameters that are not rounded to float32."""
        return frozenset(p.name for p in self.parameters if not p.through_float32)

    @cached_property
    def slot_names(self) -> dict[str, str]:
        """The names of slots, by their roles."""
        return {slot.role: slot.name for slot in self.slots}

    def slots_of(
        self, options: Options, shapes: Sequence[Shape]
    ) -> Iterator[tuple[int, Slot, Shape]]:
        """The slots beside variables of these shapes, in the order in which they are made."""
        slots = [s for s in self.slots if s.needs is None or options[s.needs]]
        together = [slot for slot in slots if slot.role in self.interleaved]
        order = [(i, slot) for i in range(len(shapes)) for slot in together]
        order += [(i, slot) for slot in slots if slot not in together for i in range(len(shapes))]
        for i, slot in order:
            shape = slot.shape_beside(shapes[i])
            if shape is not None:
                yield i, slot, shape


def exact(parameter: Parameter) -> Parameter:
    """The parameter, except that it is not rounded to float32."""
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
