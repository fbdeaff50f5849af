# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters as numbers of the type that is computed in."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slotwise._variable import Variable, own_array

Float: TypeAlias = Any  # a NumPy float32 or float64

TYPES = (np.float32, np.float64)  # that are computed in
ByType: TypeAlias = tuple[Any, ...]  # one for each of these; None for one that no variable has


def compute_type(dtype: np.dtype[Any]) -> type[Float]:
    """The type that arrays of a dtype are computed in: float32 for 16-bit ones."""
    return np.float64 if dtype == np.float64 else np.float32


def configured(number: Any, given: Any) -> Any:
    """A NumPy number for a config: as it was given, if it still is that; else the shortest.

    Either is the same number again once it is rounded to the type that it was kept in.
    """
    if number.dtype == np.float64:
        return number
    if isinstance(given, (int, float)) and number.dtype.type(given) == number:
        return float(given)
    return float(str(number)) if number.dtype == np.float32 else number.item()


def rounded(value: Any, kind: type[Float]) -> Float:
    """A hyperparameter in the type that is computed in.

    It goes through float32, which Keras keeps it in, unless it is a NumPy float64.
    """
    number = _scalar(value)
    is_double = getattr(number, "dtype", None) == np.float64
    return kind(number if is_double else np.float32(number))


def _scalar(value: Any) -> Any:
    if type(value) is float:  # most are
        return value
    if isinstance(value, Variable):
        value = own_array(value)
    if np.ndim(value) != 0:
        shape = np.shape(value)
        raise ValueError(f"hyperparameter: expected a scalar, got an array of shape {shape}")
    return value


def power(base: Float, exponent: float | Float) -> Float:
    """base^exponent, computed in float64 and rounded once."""
    try:
        return type(base)(math.pow(base, exponent))
    except OverflowError:
        return type(base)(math.inf)


class Numbers:
    """The numbers of one step, for a type that is computed in.

    Attributes:
        type: that type.
        values: the parameters as the optimizer keeps them, by name.
        lr: the learning rate of the step.
        step: the number of the step, from 1 on.
        part: a number that is another one for some of the variables; None if there is none.
    """

    __slots__ = ("_exact", "lr", "part", "step", "type", "values")

    def __init__(
        self,
        kind: type[Float],
        values: Mapping[str, Any],
        exact: Collection[str],
        lr: Float,
        step: int,
        part: Any = None,
    ) -> None:
        self.type = kind
        self.values = values
        self._exact = exact
        self.lr = lr
        self.step = step
        self.part = part

    def __getitem__(self, parameter: str) -> Float:
        """A parameter in the type, or as a Python float if the kernel is to round it."""
        value = self.values[parameter]
        return float(_scalar(value)) if parameter in self._exact else rounded(value, self.type)

    def power(self, parameter: str) -> Float:
        """parameter^step"""
        return power(rounded(self.values[parameter], self.type), self.step)


class Part(NamedTuple):
    """Some of a step's pairs, and a number that is theirs."""

    pairs: Sequence[int]
    number: Any


class Reading(NamedTuple):
    """What a step reads of its optimizer."""

    values: Mapping[str, Any]  # parameters as they are kept, by name
    exact: Collection[str]  # those that are not rounded to float32
    rates: ByType  # the learning rate
    steps: int  # so far
    counter: NDArray[Any]  # what counts them, or the calls that are part of one
    parts: Sequence[Part] = ()  # () if a step is one
    changes: tuple[tuple[Any, Any], ...] = ()  # arrays of numbers, and what they become

    def numbers(self, kind: type[Float], rate: Float = None, part: Any = None) -> Numbers:
        return Numbers(kind, self.values, self.exact, rate, self.steps + 1, part)
