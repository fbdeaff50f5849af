# SPDX-License-Identifier: Apache-2.0
"""Whole optimizers (both Keras APIs): their configs and slots, and the inputs of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.results.records import LIMIT
from bench.work.base import PERIOD, Array, Work, drawn, filled
from bench.work.rows import Batch, before_rows

Config = dict[str, Any]

VAR, GRADIENT = "var", "grad"
_POSITIVE = ("v", "u", "rms", "accumulator")

# Slots that decay in every row, touched or not, stay normal for some 2,500 steps.
_KEEP = 1 - 2.0**-5
_EPSILON = 2.0**-10


# What a step is measured on: a batch of a table's rows, 1000 small variables, a large one with a
# limit on the norm of its gradient.
ROWS, MANY, CLIPPED = "rows", "1000 x 64", "global_clipnorm"


@dataclass(frozen=True)
class Optimizer:
    """One optimizer: its class, and the constructor's arguments.

    ``whole`` names the arrays of which a sparse gradient updates every row; ``tolerance`` is the
    difference from a peer's result that is allowed, relative to the values.
    """

    cls: str
    config: Mapping[str, Any]
    slots: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    tolerance: float = 1e-5
    is_legacy: bool = False
    on: tuple[str, ...] = (ROWS,)
    peers: tuple[str, ...] = ("tf_keras",)  # that take a step on rows

    def make(self, optimizers: Any, config: Config, tables: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The optimizer and, by name, the arrays that a step updates.

        Args:
            optimizers: the module, slotwise's or tf_keras's: the calls are the same.
            config: the constructor's arguments.
            tables: variables, of names that differ.
        """
        module = optimizers.legacy if self.is_legacy else optimizers
        opt = getattr(module, self.cls)(**config)
        if self.is_legacy:
            opt._create_all_weights(tables)
            slots = [{n: opt.get_slot(t, n) for n in self.slots} for t in tables]
        else:
            opt.build(tables)
            by_name = {_name(v): v for v in opt.variables}
            slots = [{n: by_name[f"{n}/{_name(t)}"] for n in self.slots} for t in tables]
        return opt, [{VAR: t, **own} for t, own in zip(tables, slots, strict=True)]

    @property
    def arrays(self) -> tuple[str, ...]:
        """What a step updates."""
        return (VAR, *self.slots)


def _name(variable: Any) -> str:
    """Without TensorFlow's number of the output."""
    return str(variable.name).partition(":")[0]


def _legacy(cls: str, *args: Any, **kwargs: Any) -> Optimizer:
    return replace(Optimizer(cls, *args, **kwargs), is_legacy=True)


_RATE = {"learning_rate": 0.125}
_MOMENTS = {**_RATE, "beta_1": _KEEP, "beta_2": 1 - 2.0**-8, "epsilon": _EPSILON}
_RMSPROP = {**_RATE, "rho": _KEEP, "epsilon": _EPSILON}
_FTRL = {**_RATE, "l1_regularization_strength": 2.0**-6, "l2_regularization_strength": 2.0**-6}

_DECAY = {**_MOMENTS, "weight_decay": 2.0**-8}
_WHOLE = (VAR, "m", "v")

OPTIMIZERS: dict[str, Optimizer] = {
    "legacy.Adam": _legacy("Adam", _MOMENTS, ("m", "v"), _WHOLE, on=(ROWS, MANY, CLIPPED)),
    "legacy.Nadam": _legacy("Nadam", _MOMENTS, ("m", "v"), ("m", "v")),
    "legacy.RMSprop": _legacy("RMSprop", _RMSPROP, ("rms",), ("rms",)),
    "legacy.RMSpropMomentum": _legacy(
        "RMSprop", {**_RMSPROP, "momentum": 0.875}, ("rms", "momentum")
    ),
    "legacy.AdamLazy": _legacy(
        "Adam", {**_MOMENTS, "sparse": "lazy"}, ("m", "v"), peers=("torch",)
    ),
    # torch sums the most frequent id, 12,000 times in a batch, in another order.
    "legacy.Adagrad": _legacy(
        "Adagrad",
        {**_RATE, "epsilon": _EPSILON},
        ("accumulator",),
        tolerance=1e-4,
        peers=("tf_keras", "torch"),
    ),
    "legacy.Ftrl": _legacy("Ftrl", _FTRL, ("accumulator", "linear")),
    # Keras adds equal ids to var one by one, the most frequent of a batch 12,000 times or more: a
    # low rate keeps var, and so each rounding, small.
    "legacy.SGD": _legacy("SGD", {"learning_rate": 2.0**-10}, tolerance=1e-4),
    "legacy.Adamax": _legacy("Adamax", _MOMENTS, ("m", "v")),
    "Adam": Optimizer("Adam", _MOMENTS, ("m", "v"), _WHOLE),
    "AdamW": Optimizer("AdamW", _DECAY, ("m", "v"), _WHOLE, on=(MANY,)),
    "AdamWAverage": Optimizer(
        "AdamW", {**_DECAY, "use_ema": True}, ("m", "v", "average"), on=(CLIPPED,)
    ),
    "Nadam": Optimizer("Nadam", _MOMENTS, ("m", "v"), _WHOLE),
    "Adamax": Optimizer("Adamax", _MOMENTS, ("m", "u"), (VAR, "m", "u")),
    "Ftrl": Optimizer("Ftrl", _FTRL, ("accumulator", "linear"), (VAR, "accumulator", "linear")),
    "SGDMomentum": Optimizer("SGD", {**_RATE, "momentum": _KEEP}, ("m",), (VAR, "m")),
}


@dataclass(frozen=True, kw_only=True)
class StepWork(Work):
    """One step of an optimizer. ``clips`` are further arguments of the constructor."""

    optimizer: Optimizer
    clips: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        return {**self.optimizer.config, **self.clips}

    @property
    def tolerance(self) -> float:
        return self.optimizer.tolerance

    @property
    def table_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the variables."""
        raise NotImplementedError

    @property
    def sizes(self) -> list[int]:
        """Elements of each variable."""
        return [math.prod(shape) for shape in self.table_shapes]

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        """As many bytes as the step has to move, in arrays."""
        count = len(self.optimizer.arrays)
        return {LIMIT: (count + 1, count, self.bytes_moved // (2 * count + 1))}

    def pattern(self, name: str) -> Array:
        """One period of the start values of an array or of the gradient."""
        key = [*self.optimizer.arrays, GRADIENT].index(name)
        length = min(PERIOD, max(self.sizes))
        return drawn(self.seed, key, length, name in _POSITIVE).astype(self.dtype)

    def array(
        self, name: str, shape: tuple[int, ...], make: Callable[..., Array] = np.empty
    ) -> Array:
        """A fresh array with an argument's start values."""
        return filled(self.pattern(name), math.prod(shape), make).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class OptimizerWork(StepWork):
    """One ``apply_gradients``: of variables with these shapes, or of a table's rows in a batch."""

    shapes: tuple[tuple[int, ...], ...] = ()
    batch: Batch | None = None

    @property
    def table_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.shapes if self.batch is None else ((self.batch.rows, self.batch.width),)

    @property
    def bytes_moved(self) -> int:
        """Gradients are read once, and once more for a norm; the rest is read and written."""
        itemsize, optimizer = self.dtype.itemsize, self.optimizer
        size = sum(self.sizes)
        if self.batch is None:
            reads = 2 if self.clips else 1
            return (2 * len(optimizer.arrays) + reads) * size * itemsize
        rows = self.batch.touched * self.batch.width
        whole = len(optimizer.whole)
        moved = whole * size + (len(optimizer.arrays) - whole) * rows
        ids = int(self.batch.ids.size)
        return 2 * moved * itemsize + ids * (self.batch.width * itemsize + 8)

    @property
    def facts(self) -> dict[str, Any]:
        return {} if self.batch is None else self.batch.facts

    def before(self, name: str, part: slice) -> Array:
        if self.batch is None:
            return self.pattern(name)[: part.stop - part.start]
        return before_rows(self.pattern(name), self.batch, self.batch.width, part)

    def gradient(self) -> Array:
        """The gradient of the batch, a row for each id."""
        assert self.batch is not None
        return self.array(GRADIENT, (self.batch.ids.size, self.batch.width))


@dataclass(frozen=True, kw_only=True)
class TurnsWork(OptimizerWork):
    """The rows of a batch, read, and a step on them; one batch after another.

    ``sparse``: what ours does with the rows that a batch leaves out.
    """

    sparse: str
    batches: int
