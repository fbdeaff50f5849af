# SPDX-License-Identifier: Apache-2.0
"""Optimizers whose sparse steps are put off, streams of gradients, and how far off results are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slotwise import IndexedSlices, Variable, optimizers
from slotwise._variable import own_array

Array = NDArray[Any]
Rate = float | Callable[[int], float]


@dataclass(frozen=True)
class Case:
    """An optimizer, with a rate that is set before each step if it is a function of the step."""

    name: str
    make: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    rate: Rate = 1e-3

    def __str__(self) -> str:
        return self.name

    def optimizer(self, sparse: str) -> Any:
        rate = self.rate if isinstance(self.rate, float) else self.rate(0)
        return self.make(rate, sparse=sparse, **self.options)


class Dense:
    """A table that an optimizer of Keras's meaning trains."""

    sparse = "keras"

    def __init__(self, case: Case, table: Array) -> None:
        self.case, self.steps = case, 0
        self.variable = Variable(table.copy(), name="table")
        self.optimizer = case.optimizer(self.sparse)
        self.optimizer._make_slots([self.variable])

    def step(self, ids: Array, grads: Array) -> None:
        if callable(self.case.rate):
            self.optimizer.learning_rate = self.case.rate(self.steps)
        self.steps += 1
        slices = IndexedSlices(grads.astype(self.variable.dtype), ids, self.variable.shape)
        self.optimizer.apply_gradients([(slices, self.variable)])

    def _variables(self) -> dict[str, Variable]:
        (entry,) = self.optimizer._entries()
        return {"var": self.variable, **entry.slots}

    def read(self) -> dict[str, Array]:
        """The variable, its slots and its average, by name."""
        return {name: each.value for name, each in self._variables().items()}


class Deferred(Dense):
    """The same, whose rows that a gradient leaves out are put off."""

    sparse = "deferred"

    def read(self) -> dict[str, Array]:
        return {name: each.numpy() for name, each in self._variables().items()}

    def raw(self) -> dict[str, Array]:
        """What is stored, behind or not."""
        return {name: own_array(each).copy() for name, each in self._variables().items()}


# ----- streams ------------------------------------------------------------------------------------


class Zipf:
    """Ids that are dealt anew every 1000 steps; gradients of sizes from 1e-9 to 10, some of them 0.

    50 rows are never touched.
    """

    def __init__(self, seed: int, rows: int = 2000, width: int = 8, batch: int = 64) -> None:
        self.random, self.batch, self.steps = np.random.default_rng(seed), batch, 0
        self.sizes = 10.0 ** self.random.uniform(-9, 1, (rows, width))
        self.means = self.random.normal(0, 1, (rows, width))
        self.table = self.random.normal(0, 0.05, (rows, width)).astype(np.float32)
        weight = 1 / np.arange(1, rows - 49) ** 1.2
        self.cumulative = np.cumsum(weight / weight.sum())

    def ids(self) -> Array:
        if self.steps % 1000 == 0:
            self.order = 50 + self.random.permutation(len(self.table) - 50)
        ranks = np.searchsorted(self.cumulative, self.random.random(self.batch))
        return np.unique(self.order[np.minimum(ranks, len(self.order) - 1)])

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        while True:
            ids = self.ids()
            self.steps += 1
            size = (len(ids), self.sizes.shape[1])
            grads = self.sizes[ids] * (self.random.normal(0, 1, size) + self.means[ids])
            grads[self.random.random(size) < 0.03] = 0
            yield ids, grads.astype(np.float32)


class Periodic(Zipf):
    """Each row in every so many steps: equal absences, whose rounding errors would add up."""

    def __init__(self, seed: int, period: int) -> None:
        super().__init__(seed, rows=200)
        self.period = period

    def ids(self) -> Array:
        return np.arange(self.steps % self.period, len(self.table), self.period)


# ----- rates --------------------------------------------------------------------------------------


def exponential(step: int) -> float:
    return float(1e-3 * 0.5 ** (step / 1000))


def restarts(step: int) -> float:
    """From 0 in 200 steps, then cosines of 1500 steps."""
    if step < 200:
        return 1e-3 * step / 200
    return float(5e-4 * (1 + np.cos(np.pi * ((step - 200) % 1500) / 1500)))


_ANY = 10.0 ** np.random.default_rng(7).uniform(-6, -1, 20_000)
_ANY[500:700], _ANY[2000:2300], _ANY[4000] = 0, 1e-9, 0.5


def arbitrary(step: int) -> float:
    return float(_ANY[step % len(_ANY)])


def times(rate: Callable[[int], float], factor: float) -> Callable[[int], float]:
    return lambda step: rate(step) * factor


def cases() -> list[Case]:
    new, old = optimizers, optimizers.legacy
    average = {"use_ema": True, "ema_momentum": 0.99}
    return [
        Case("legacy Adam", old.Adam),
        Case("legacy Adam, exponential", old.Adam, rate=exponential),
        Case("legacy Adam, restarts", old.Adam, rate=restarts),
        Case("legacy Adam, arbitrary", old.Adam, rate=arbitrary),
        Case("legacy Adam, .99 .999", old.Adam, {"beta_1": 0.99}),
        Case("legacy Adam, .5 .999", old.Adam, {"beta_1": 0.5}),
        Case("legacy Adam, 0 .99", old.Adam, {"beta_1": 0.0, "beta_2": 0.99}),
        Case("legacy Adam, .9 .98", old.Adam, {"beta_2": 0.98, "epsilon": 1e-9}),
        Case("legacy Adam, .9 .95", old.Adam, {"beta_2": 0.95}),
        Case("legacy Adam, epsilon 1e-3", old.Adam, {"epsilon": 1e-3}),
        Case("legacy Adam, amsgrad", old.Adam, {"amsgrad": True}),
        Case("legacy Adam, amsgrad, arbitrary", old.Adam, {"amsgrad": True}, arbitrary),
        Case("legacy Nadam", old.Nadam),
        Case("legacy RMSprop", old.RMSprop),
        Case("legacy RMSprop, .999", old.RMSprop, {"rho": 0.999}),
        Case("legacy RMSprop, centered", old.RMSprop, {"centered": True}),
        Case("SGD, momentum", new.SGD, {"momentum": 0.9}, 1e-2),
        Case("SGD, nesterov", new.SGD, {"momentum": 0.9, "nesterov": True}, 1e-2),
        Case("SGD, momentum .99", new.SGD, {"momentum": 0.99}, 1e-2),
        Case("SGD, momentum 1", new.SGD, {"momentum": 1.0}, 1e-4),
        Case(
            "SGD, decay, average",
            new.SGD,
            {"momentum": 0.9, "weight_decay": 0.01, **average},
            times(restarts, 10),
        ),
        Case("RMSprop", new.RMSprop),
        Case("RMSprop, centered", new.RMSprop, {"centered": True}),
        Case("RMSprop, momentum", new.RMSprop, {"momentum": 0.9}),
        Case("RMSprop, momentum, centered", new.RMSprop, {"momentum": 0.9, "centered": True}),
        Case(
            "RMSprop, decay, average",
            new.RMSprop,
            {"weight_decay": 0.01, "ema_overwrite_frequency": None, **average},
        ),
        Case("Adagrad, decay, average", new.Adagrad, {"weight_decay": 0.01, **average}),
        Case("Adadelta", new.Adadelta, rate=1.0),
        Case("Adadelta, average", new.Adadelta, {**average, "ema_momentum": 0.999}, 1.0),
        Case("Adam", new.Adam),
        Case("Adam, epsilon 0", new.Adam, {"epsilon": 0.0}),
        Case("Adam, adaptive epsilon", new.Adam, {"adaptive_epsilon": True}),
        Case("Adam, amsgrad, adaptive", new.Adam, {"adaptive_epsilon": True, "amsgrad": True}),
        Case("Adam, average", new.Adam, average),
        Case("AdamW", new.AdamW),
        Case("AdamW, restarts", new.AdamW, {"weight_decay": 0.05}, restarts),
        Case("AdamW, average, restarts", new.AdamW, {"weight_decay": 0.05, **average}, restarts),
        Case(
            "AdamW, average, arbitrary",
            new.AdamW,
            {"weight_decay": 0.2, **average, "ema_momentum": 0.999},
            arbitrary,
        ),
        Case(
            "AdamW, average overwrites",
            new.AdamW,
            {"weight_decay": 0.05, **average, "ema_overwrite_frequency": 100},
            restarts,
        ),
        Case("Adamax", new.Adamax),
        Case("Adamax, decay, restarts", new.Adamax, {"weight_decay": 0.05}, restarts),
        Case("Nadam", new.Nadam),
        Case("Nadam, decay", new.Nadam, {"weight_decay": 0.05}),
        Case("Lion", new.Lion, rate=1e-4),
        Case("Lion, decay, average", new.Lion, {"weight_decay": 0.5, **average}, 1e-4),
        Case("Ftrl", new.Ftrl, rate=0.05),
        Case(
            "Ftrl, l1, l2, beta, restarts, decay",
            new.Ftrl,
            {
                "l1_regularization_strength": 1e-3,
                "l2_regularization_strength": 1e-2,
                "beta": 0.1,
                "weight_decay": 0.01,
            },
            times(restarts, 50),
        ),
    ]


# ----- how far off --------------------------------------------------------------------------------


def ratio(deferred: float, dense: float) -> float:
    return 0.0 if deferred == 0 else np.inf if dense == 0 else deferred / dense


BUCKETS = ((0, 0), (1, 3), (4, 30), (31, 300), (301, 10**9))  # of the steps that rows missed


def measured(case: Case, steps: int, stream: Zipf, checks: int = 10) -> dict[str, dict[str, float]]:
    """Errors of float32 runs against the float64 run of the same optimizer: deferred / dense.

    Errors are scaled by the largest magnitude that an element has had. `check` is the largest ratio
    of root mean squares at any check, of all rows or of those of an age (if there are 30 of them);
    `rms` and `max` are over all checks.
    """
    exact = Dense(case, stream.table.astype(np.float64))
    dense, deferred = Dense(case, stream.table), Deferred(case, stream.table)
    largest = {name: np.abs(x) for name, x in exact.read().items()}
    touched = np.zeros(len(stream.table), np.int64)
    found: dict[str, list[Any]] = {name: [] for name in largest}
    worst = dict.fromkeys(largest, 0.0)
    for step, (ids, grads) in zip(range(1, steps + 1), stream, strict=False):
        for run in (exact, dense, deferred):
            run.step(ids, grads)
        touched[ids] = step
        for name, x in exact.read().items():
            at = slice(None) if step % 100 == 0 else ids
            largest[name][at] = np.maximum(largest[name][at], np.abs(x[at]))
        if step % (steps // checks):
            continue
        runs, age = (deferred.read(), dense.read()), step - touched
        for name, x in exact.read().items():
            scale = np.where(largest[name] > 0, largest[name], 1)
            pair = [np.abs(run[name].astype(np.float64) - x) / scale for run in runs]
            squares = [e * e for e in pair]
            found[name].append([(e.max(), s.mean()) for e, s in zip(pair, squares, strict=True)])
            own = [(age >= first) & (age <= last) for first, last in BUCKETS]
            for rows in [np.ones(len(age), bool), *(rows for rows in own if rows.sum() >= 30)]:
                each = ratio(*(float(s[rows].mean()) ** 0.5 for s in squares))
                worst[name] = max(worst[name], each)
    result = {}
    for name, several in found.items():
        of = np.array(several)  # check, (deferred, dense), (max, mean square)
        most, square = of[..., 0].max(0), of[..., 1].mean(0) ** 0.5
        result[name] = {"rms": ratio(*square), "max": ratio(*most), "check": worst[name]}
    return result


def assert_within(case: Case, result: dict[str, dict[str, float]]) -> None:
    """The contract of accuracy."""
    for name, found in result.items():
        assert found["check"] <= 1.5, (case.name, name, found)
        assert max(found["rms"], found["max"]) <= 2, (case.name, name, found)


def assert_near_after_absence(name: str, stream: Zipf, steps: int) -> None:
    """Rows that had gradients in 200 steps, then in none."""
    (case,) = [case for case in cases() if case.name == name]
    runs = [Dense(case, stream.table.astype(np.float64)), Dense(case, stream.table)]
    runs.append(Deferred(case, stream.table))
    nothing = np.zeros(0, np.int64), np.zeros((0, stream.table.shape[1]), np.float32)
    for step, (ids, grads) in zip(range(steps), stream, strict=False):
        for run in runs:
            run.step(*((ids, grads) if step < 200 else nothing))
    exact, dense, deferred = (run.read()["var"].astype(np.float64) for run in runs)
    mine, its = (float(((x - exact) ** 2).mean()) ** 0.5 for x in (deferred, dense))
    assert mine <= 1.5 * its, (mine, its)
