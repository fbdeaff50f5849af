"""Hyperparameters as numbers of the type that is computed in."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from slotwise._variable import Variable
from slotwise.optimizers._description import Description, Float, power


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
    if isinstance(value, Variable):
        value = value.value
    if np.ndim(value) != 0:
        shape = np.shape(value)
        raise ValueError(f"hyperparameter: expected a scalar, got an array of shape {shape}")
    return value


class HasNumbers(Protocol):
    """An optimizer with a description."""

    description: Description

    def _step_count(self) -> int: ...

    def _rate(self, kind: type[Float]) -> Float:
        """The learning rate of this step."""
        ...

    def _value_of(self, name: str) -> Any:
        """Of a parameter."""
        ...


class StepNumbers:
    """The numbers of one step, for a type that is computed in."""

    def __init__(self, optimizer: HasNumbers, kind: type[Float]) -> None:
        self.optimizer = optimizer
        self.type = kind
        self.step = optimizer._step_count() + 1

    @property
    def lr(self) -> Float:
        return self.optimizer._rate(self.type)

    def __getitem__(self, name: str) -> Float:
        value = self.optimizer._value_of(name)
        if self.optimizer.description.by_name[name].through_float32:
            return rounded(value, self.type)
        return float(_scalar(value))

    def power(self, name: str) -> Float:
        return power(rounded(self.optimizer._value_of(name), self.type), self.step)
