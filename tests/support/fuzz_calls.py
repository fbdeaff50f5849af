# SPDX-License-Identifier: Apache-2.0
"""Calls of public functions with odd arguments: each is done, or refused in words of ours.

    python -m support.fuzz_calls SEED COUNT FOLDER [FIRST]

makes COUNT calls of a seed, from number FIRST on, and prints what is wrong with each. A call is
drawn from the seed and its number alone. FOLDER/number holds the latest number, also after a crash.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import io
import logging
import os
import random
import re
import resource
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import slotwise
from slotwise import (
    IndexedSlices,
    PooledSlices,
    RowPlan,
    Variable,
    interop,
    optimizers,
    raw_ops,
)
from slotwise.optimizers import legacy, schedules
from support.memory import misaligned, read_only

Rng = random.Random
EVERY = 200  # calls, then the garbage is collected and what is left of them looked for


class Theirs(Exception):
    """What objects of a caller's raise: it is theirs, and is passed on."""


# ----- odd values --------------------------------------------------------------------------------


class Bare:
    """Without methods."""


def _raises(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise Theirs


def _evil(**members: Any) -> Any:
    return type("Evil", (), members)()


class Lying(np.ndarray):
    """An array that says that it has another shape."""

    @property
    def shape(self) -> Any:
        return (10**6, 10**6)

    @shape.setter
    def shape(self, value: Any) -> None: ...

    def __repr__(self) -> str:
        return "Lying"

    __str__ = __repr__


INTEGERS = (-(2**70), -(2**63), -1, 0, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 2**70)
PLAIN: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: 1e308,
    lambda: -0.5,
    lambda: 1j,
    lambda: "",
    lambda: "text",
    lambda: "1.0",
    lambda: "\udc80",
    lambda: "a\0b",
    lambda: b"bytes",
    list,
    lambda: (),
    dict,
    lambda: set(),
    lambda: [[1, 2], [3]],
    lambda: [[[[1.0]]], "x"],
    lambda: [None, None],
    lambda: (1, 2, 3),
    lambda: {"a": 1},
    lambda: {1: np.ones(2)},
    lambda: (x for x in ()),
    lambda: iter([1, 2]),
    lambda: (1,) * 65,
    lambda: (2**40, 2**40),
    lambda: (0, 2**63),
    lambda: object(),
    lambda: Bare(),
    lambda: Bare,
    lambda: int,
    lambda: sys,
    lambda: len,
    lambda: lambda: None,
    lambda: lambda *args, **kwargs: "text",
    lambda: slice(None),
    lambda: ...,
    lambda: NotImplemented,
    lambda: np.float64(0.5),
    lambda: np.float16("nan"),
    lambda: np.datetime64("2020-01-01"),
    lambda: np.str_("text"),
    lambda: np.dtype(np.float32),
    lambda: np.dtype("V0"),
    lambda: "S0",
    lambda: object,
    lambda: memoryview(b"1234"),
    lambda: bytearray(12),
    lambda: IndexedSlices(np.ones((1, 3), np.float32), np.array([0.0]), (1, 3)),
    lambda: IndexedSlices(None, None, None),
    lambda: IndexedSlices(np.ones((2, 3), np.float32), np.array([0, 2**40]), "text"),
    lambda: IndexedSlices([[1.0, 2.0], [3.0]], ["a"], (2**70,)),
    lambda: PooledSlices(np.ones((1, 3), np.float32), np.array([9, 0]), [0]),
    lambda: RowPlan(np.array([0, 1, 0]), 4),
    lambda: RowPlan.__new__(RowPlan),
    lambda: Variable(np.ones(2)),
    lambda: Variable(np.array(3)),
    lambda: optimizers.SGD(0.1),
    lambda: schedules.CosineDecay(0.1, 10),
    lambda: _evil(shape=property(_raises), __array__=_raises),
    lambda: _evil(shape=(4, 3), dtype=np.dtype(np.float32), ndim=2),
    lambda: _evil(shape="text", dtype="text", values=1, indices=2),
    lambda: _evil(shape=(2**70, -1)),
    lambda: _evil(shape=None, __float__=lambda self: 0.5),
    lambda: _evil(__len__=_raises, __iter__=_raises, __getitem__=_raises),
    lambda: _evil(__len__=lambda self: 2**62, __getitem__=lambda self, i: (1, 2, 3)[i]),
    lambda: _evil(__len__=lambda self: 2, __iter__=lambda self: iter(())),
    lambda: _evil(__iter__=lambda self: 7),
    lambda: _evil(__index__=_raises, __float__=_raises, __bool__=_raises),
    lambda: _evil(__index__=lambda self: "x", __float__=lambda self: "x"),
    lambda: _evil(__eq__=_raises, __hash__=lambda self: 1),
    lambda: _evil(__repr__=_raises, __str__=_raises),
    lambda: _evil(__array__=lambda self, dtype=None, copy=None: "text"),
    lambda: _evil(__array__=lambda self, dtype=None, copy=None: np.ones((4, 3), np.float32)),
    lambda: _evil(__dlpack__=lambda self, **kw: 5, __dlpack_device__=lambda self: (1, 0)),
    lambda: _evil(__dlpack__=_raises, __dlpack_device__=_raises),
    lambda: _evil(__array_interface__={"shape": (2**62,), "typestr": "<f4", "data": (0, False)}),
    lambda: _evil(__array_interface__="text"),
    lambda: _evil(keys=_raises, items=_raises, get=_raises),
    lambda: _evil(read=_raises, value=property(_raises), constraint=1, name=1),
    lambda: np.ma.masked_array([1.0, 2.0], [0, 1]),
    lambda: np.ones((1,) * 64, np.float32),
    lambda: np.array([None, "a"], object),
    lambda: np.zeros(3, [("a", "f4"), ("b", "i8")]),
    lambda: np.array(["a", "bc"]),
    lambda: np.array("2020", "M8[Y]"),
    lambda: np.zeros(4).view(Lying),
    lambda: np.broadcast_to(np.float32(1), (3, 10**9, 10**6)),
    lambda: np.zeros((0, 2**40), np.float32),
)
DTYPES = (
    "?",
    "i1",
    "u8",
    "i4",
    "i8",
    "f2",
    "f4",
    "f8",
    ">f4",
    ">i8",
    "c16",
    "g",
    "O",
    "U3",
    "M8[s]",
)


ARRAYS: tuple[Callable[[Any], Any], ...] = (
    misaligned,
    read_only,
    lambda x: np.asfortranarray(x),
    lambda x: np.repeat(x, 2, -1)[..., ::2] if x.ndim else x,
    lambda x: x[::-1] if x.ndim else x,
    lambda x: x[:0] if x.ndim else x,
    lambda x: x[:-1] if x.ndim else x,
    lambda x: x.reshape(-1),
    lambda x: x[None],
    lambda x: np.array(x.reshape(-1)[0]) if x.size else x,
    lambda x: np.concatenate([x, x]) if x.ndim else x,
    lambda x: np.ma.masked_array(x),
    lambda x: x.view(Lying),
    lambda x: x.tolist(),
    lambda x: memoryview(np.ascontiguousarray(x)),
    lambda x: Variable(x),
    lambda x: x.astype(ml_dtypes.bfloat16),
    lambda x: np.full(x.shape, np.nan, np.float32),
    lambda x: -np.ones(x.shape, x.dtype),
    lambda x: np.full(x.shape, 2**40),
    lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape),
)


def odd(rng: Rng, good: Any) -> Any:
    """A value in place of a good one."""
    if isinstance(good, Variable) and rng.random() < 0.5:
        good = good.value
    if isinstance(good, np.ndarray) and rng.random() < 0.6:
        with np.errstate(all="ignore"), contextlib.suppress(TypeError, ValueError):
            if rng.random() < 0.4:
                return good.astype(rng.choice(DTYPES))
            return rng.choice(ARRAYS)(good.copy())
    return rng.choice(INTEGERS) if rng.random() < 0.2 else rng.choice(PLAIN)()


def spoiled(rng: Rng, good: Any) -> Any:
    """The value, or something that it is made of, replaced."""
    if rng.random() < 0.3 or not good_parts(good):
        return odd(rng, good)
    if isinstance(good, IndexedSlices):
        parts = {name: getattr(good, name) for name in ("values", "indices", "dense_shape")}
        return IndexedSlices(**_one_spoiled(rng, parts))
    if isinstance(good, dict):
        return _one_spoiled(rng, good)
    parts = _one_spoiled(rng, dict(enumerate(good)))
    if rng.random() < 0.1:
        del parts[rng.choice(list(parts))]
    return type(good)(parts.values())


def good_parts(good: Any) -> bool:
    return isinstance(good, IndexedSlices) or (isinstance(good, (list, tuple, dict)) and bool(good))


def _one_spoiled(rng: Rng, parts: dict[Any, Any]) -> dict[Any, Any]:
    key = rng.choice(list(parts))
    return {**parts, key: spoiled(rng, parts[key])}


# ----- calls -------------------------------------------------------------------------------------


@dataclass
class Call:
    """A public function, arguments that it takes, and what it must leave as it is if it refuses."""

    name: str  # what its errors begin with
    function: Callable[..., Any]
    arguments: dict[str, Any]
    kept: list[Any] = field(default_factory=list)
    positional: bool = False
    but: tuple[str, ...] = ()  # arguments that stay good

    def spoil(self, rng: Rng) -> None:
        names = [name for name in self.arguments if name not in self.but]
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2)))):
            self.arguments[name] = spoiled(rng, self.arguments[name])

    def make(self) -> Any:
        if self.positional:
            return self.function(*self.arguments.values())
        return self.function(**self.arguments)


CALLS: list[tuple[int, Callable[[Rng], Call]]] = []  # with how often they are drawn


def calls(weight: int) -> Callable[[Callable[[Rng], Call]], Callable[[Rng], Call]]:
    def register(function: Callable[[Rng], Call]) -> Callable[[Rng], Call]:
        CALLS.append((weight, function))
        return function

    return register


def table() -> Any:
    return np.arange(12, dtype=np.float32).reshape(4, 3)


def slices() -> IndexedSlices:
    return IndexedSlices(np.ones((2, 3), np.float32), np.array([2, 0]), (4, 3))


def pooled() -> PooledSlices:
    ids, weights = np.array([2, 0]), np.ones(2, np.float32)
    return PooledSlices(np.ones((1, 3), np.float32), ids, [0], weights, "mean", (4, 3))


_BY_NAME: dict[str, Callable[[], Any]] = {
    "indices": lambda: np.array([2, 0]),
    "updates": lambda: np.ones((2, 3), np.float32),
    "r": lambda: np.ones(4, np.float32),
    "c": lambda: np.ones(3, np.float32),
    "global_step": lambda: 3,
    "lr_power": lambda: -0.5,
    "logbase": lambda: 1.0,
    "bounds": lambda: "raise",
    "duplicates": lambda: "sum",
    "mode": lambda: "sum",
    "include_last_offset": lambda: False,
    **dict.fromkeys(("offsets", "weights"), lambda: None),
    "name": lambda: None,
    **dict.fromkeys(("use_locking", "use_nesterov", "update_slots"), lambda: False),
    **dict.fromkeys(("epsilon_in_root", "multiply_linear_by_lr"), lambda: False),
}
_ARRAYS = frozenset(
    [
        *("var", "ref", "resource", "grad", "delta"),
        *("m", "s", "v", "vhat", "mg", "ms", "mom", "rms", "accum", "accum_update", "linear"),
        *("gradient_accumulator", "gradient_squared_accumulator"),
    ]
)


@calls(8)
def raw_op(rng: Rng) -> Call:
    name = rng.choice(raw_ops.__all__)
    function = getattr(raw_ops, name)
    arguments: dict[str, Any] = {}
    is_sparse = "indices" in inspect.signature(function).parameters
    for key in inspect.signature(function).parameters:
        if key in _BY_NAME:
            arguments[key] = _BY_NAME[key]()
        elif key in _ARRAYS:
            is_rows = is_sparse and key in ("grad", "delta")
            arguments[key] = np.ones((2, 3), np.float32) if is_rows else table() + 1
        else:
            arguments[key] = 0.25
    if is_sparse and "offsets" in arguments and rng.random() < 0.3:
        arguments["offsets"] = rng.choice(([0, 1], np.array([0, 0])))
        arguments["weights"] = rng.choice((None, np.ones(2, np.float32)))
        arguments["mode"] = rng.choice(("sum", "mean"))
    return Call(name, function, arguments)


@calls(2)
def gather(rng: Rng) -> Call:
    out = rng.choice((None, np.zeros((2, 3), np.float32)))
    arguments = {"table": table(), "ids": np.array([2, 0]), "out": out}
    return Call("gather", slotwise.gather, arguments)


@calls(2)
def gather_pooled(rng: Rng) -> Call:
    arguments = {
        "table": table(),
        "ids": np.array([2, 0]),
        "offsets": rng.choice(([0, 1], np.array([0, 1]))),
        "weights": rng.choice((None, np.ones(2, np.float32), [1, 2])),
        "mode": "mean",
        "include_last_offset": False,
        "out": rng.choice((None, np.zeros((2, 3), np.float32))),
    }
    if rng.random() < 0.4:
        arguments |= {
            name: [arguments[name]] * 2 for name in ("table", "ids", "offsets", "weights")
        }
        arguments["out"] = rng.choice((None, np.zeros((2, 6), np.float32)))
    return Call("gather_pooled", slotwise.gather_pooled, arguments)


@calls(1)
def split_jagged(rng: Rng) -> Call:
    arguments = {
        "values": np.array([2, 0]),
        "lengths": rng.choice(([1, 0, 0, 1], np.array([2, 0]))),
        "tables": 2,
        "weights": rng.choice((None, [1, 2])),
    }
    return Call("split_jagged", slotwise.split_jagged, arguments)


def _pooled_slices(rng: Rng) -> dict[str, Any]:
    return {
        "bag_grads": np.ones((2, 3), np.float32),
        "ids": rng.choice((np.array([2, 0]), RowPlan(np.array([2, 0]), 4))),
        "offsets": rng.choice(([0, 1], np.array([0, 1]))),
        "weights": rng.choice((None, np.ones(2, np.float32), [1, 2])),
        "mode": rng.choice(("sum", "mean", "sqrtn")),
        "dense_shape": rng.choice((None, (4, 3))),
        "include_last_offset": False,
    }


def _used_slices(**arguments: Any) -> Any:
    """Gradients of bags, and what asks for their values."""
    slices = PooledSlices(**arguments)
    return repr(-slices), slices.values


@calls(2)
def pooled_slices(rng: Rng) -> Call:
    return Call("PooledSlices", _used_slices, _pooled_slices(rng))


@calls(1)
def pooled_weight_gradient(rng: Rng) -> Call:
    arguments = {
        "bag_grads": np.ones((2, 3), np.float32),
        "table": table(),
        "ids": np.array([2, 0]),
        "offsets": [0, 1],
        "include_last_offset": False,
    }
    return Call("pooled_weight_gradient", slotwise.pooled_weight_gradient, arguments)


@calls(1)
def coalesce(rng: Rng) -> Call:
    arguments = {
        "ids": np.array([2, 0]),
        "grads": np.ones((2, 3), np.float32),
        "num_rows": 4,
        "return_inverse": True,
        "exact": rng.choice((False, True)),
    }
    return Call("coalesce", slotwise.coalesce, arguments)


@calls(1)
def row_plan(rng: Rng) -> Call:
    return Call("RowPlan", RowPlan, {"ids": np.array([2, 0]), "num_rows": 4, "bounds": "raise"})


@calls(1)
def zeros(rng: Rng) -> Call:
    name = rng.choice(("zeros", "empty"))
    return Call(name, getattr(slotwise, name), {"shape": (2, 3), "dtype": np.float32})


@calls(1)
def full(rng: Rng) -> Call:
    arguments = {"shape": (2, 3), "fill_value": 1.0, "dtype": np.float32}
    # A large one that there is memory for would take all of it.
    return Call("full", slotwise.full, arguments, but=("shape",) if rng.random() < 0.7 else ())


@calls(1)
def runtime(rng: Rng) -> Call:
    if rng.random() < 0.5:
        return Call("set_target", slotwise.set_target, {"name": None})
    return Call("set_num_threads", slotwise.set_num_threads, {"threads": 2})


@calls(1)
def variable(rng: Rng) -> Call:
    arguments = {
        "initial_value": rng.choice((table(), 1.0, [1.0, 2.0])),
        "trainable": True,
        "name": "w",
        "dtype": rng.choice((None, np.float32)),
        "constraint": None,
    }
    return Call("Variable", Variable, arguments)


@calls(1)
def assign(rng: Rng) -> Call:
    var = Variable(table(), name="w")
    name = rng.choice(("assign", "assign_add", "assign_sub"))
    return Call(f"Variable.{name}", getattr(var, name), {"value": table()}, [var], positional=True)


@calls(1)
def indexed_slices(rng: Rng) -> Call:
    good = slices()
    return Call("IndexedSlices", IndexedSlices, dict(vars(good)))


@calls(1)
def tracking(rng: Rng) -> Call:
    var = Variable(table(), name="w")
    if rng.random() < 0.3:
        return Call("track", slotwise.track, {"variable": var}, [var])
    touched = slotwise.track(var)
    if rng.random() < 0.3:
        return Call("untrack", slotwise.untrack, {"variable": var}, [var])
    return Call("TouchedRows.mark", touched.mark, {"rows": np.array([1])}, [var, touched])


SCHEDULES: tuple[Callable[[], Any], ...] = (
    lambda: schedules.CosineDecay(0.1, 10),
    lambda: schedules.CosineDecayRestarts(0.1, 10),
    lambda: schedules.ExponentialDecay(0.1, 10, 0.5),
    lambda: schedules.InverseTimeDecay(0.1, 10, 0.5),
    lambda: schedules.PiecewiseConstantDecay([10, 20], [0.1, 0.2, 0.3]),
    lambda: schedules.PolynomialDecay(0.1, 10),
)


@calls(1)
def schedule(rng: Rng) -> Call:
    found = rng.choice(SCHEDULES)()
    name = type(found).__name__
    if rng.random() < 0.5:
        return Call(name, found, {"step": 3}, positional=True)
    return Call(name, type(found), found.get_config())


# ----- of optimizers -----------------------------------------------------------------------------

LEGACY = [getattr(legacy, name) for name in legacy.__all__ if name != "Optimizer"]
CURRENT = [
    getattr(optimizers, name)
    for name in optimizers.__all__
    if name[0].isupper() and name not in ("Optimizer", "LossScaleOptimizer")
]
CURRENT = [cls for cls in CURRENT if isinstance(cls, type)]


def built(rng: Rng) -> tuple[Any, list[Any]]:
    """An optimizer after a step, with its variables."""
    cls = rng.choice((*LEGACY, *CURRENT))
    is_legacy = issubclass(cls, legacy.Optimizer)
    settings: dict[str, Any] = {}
    if rng.random() < 0.3:
        settings[rng.choice(("clipnorm", "clipvalue", "global_clipnorm"))] = 1.0
    if rng.random() < 0.2 and not is_legacy:
        settings.update(use_ema=True, weight_decay=0.01)
    opt = cls(**settings)
    given = [
        Variable(table(), name="w"),
        rng.choice((Variable(table()[0].copy(), name="b"), table())),
    ]
    if rng.random() < 0.2:
        opt = optimizers.LossScaleOptimizer(opt, dynamic=rng.random() < 0.5, initial_scale=8.0)
    if rng.random() < 0.8:
        opt.apply_gradients(gradients(rng, given))
    return opt, given


def gradients(rng: Rng, given: list[Any]) -> list[Any]:
    return [
        (
            rng.choice((slices, pooled))()
            if np.shape(var) == (4, 3) and rng.random() < 0.4
            else np.ones(np.shape(var), np.float32),
            var,
        )
        for var in given
    ]


def of_optimizer(weight: int, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers what makes arguments for methods of these names."""

    def register(arguments: Callable[[Rng, Any, list[Any]], dict[str, Any]]) -> Callable[..., Any]:
        @calls(weight)
        @functools.wraps(arguments)
        def draw(rng: Rng) -> Call:
            while True:
                opt, given = built(rng)
                name = rng.choice(names)
                if hasattr(opt, name):
                    break
            return Call(
                f"{type(opt).__name__}.{name}",
                getattr(opt, name),
                arguments(rng, opt, given),
                [opt, given],
            )

        return arguments

    return register


@of_optimizer(10, "apply_gradients")
def apply_gradients(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"grads_and_vars": gradients(rng, given)}


@of_optimizer(1, "build")
def build(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"var_list": given}


@of_optimizer(1, "exclude_from_weight_decay")
def exclude(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"var_list": given, "var_names": ["w"]}


@of_optimizer(1, "finalize_variable_values")
def finalize(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"var_list": given}


@of_optimizer(1, "set_weights")
def set_weights(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"weights": values_of(opt)}


def values_of(opt: Any) -> list[Any]:
    weights = opt.variables
    return [np.asarray(weight.numpy()) for weight in (weights() if callable(weights) else weights)]


@of_optimizer(1, "add_slot")
def add_slot(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"var": given[0], "slot_name": "best", "initializer": "zeros", "shape": (2,)}


@of_optimizer(1, "get_slot")
def get_slot(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    if not opt.get_slot_names():
        opt.add_slot(given[0], "m")
    return {"var": given[0], "slot_name": opt.get_slot_names()[0]}


@of_optimizer(1, "add_weight", "add_variable")
def add_weight(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"name": "x", "shape": (2,), "dtype": np.float32, "initializer": "zeros"}


@of_optimizer(1, "add_variable_from_reference")
def add_beside(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {
        "model_variable": given[0],
        "variable_name": "x",
        "shape": (2,),
        "initial_value": np.ones(2, np.float32),
    }


def by_name(given: list[Any]) -> dict[str, Any]:
    return {"w": given[0], "b": given[1]}


@of_optimizer(1, "state_dict")
def state_dict(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"variables": by_name(given)}


@of_optimizer(2, "load_state_dict")
def load_state_dict(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    state = {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in opt.state_dict(by_name(given)).items()
    }
    return {"state": state, "strict": rng.random() < 0.7, "variables": by_name(given)}


@of_optimizer(1, "save_own_variables", "load_own_variables")
def own_variables(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    store: dict[str, Any] = {}
    opt.save_own_variables(store)
    return {"store": store}


@of_optimizer(1, "get_unscaled_gradients")
def unscale(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    return {"grads": [grad for grad, _ in gradients(rng, given)]}


@of_optimizer(1, "minimize", "compute_gradients")
def minimize(rng: Rng, opt: Any, given: list[Any]) -> dict[str, Any]:
    var = given[0]
    return {"loss": lambda: (var * var).sum(), "var_list": [var], "tape": None}


@calls(2)
def optimizer(rng: Rng) -> Call:
    cls = rng.choice((*LEGACY, *CURRENT))
    is_legacy = issubclass(cls, legacy.Optimizer)
    config = cls().get_config()
    config.pop("is_legacy_optimizer", None)
    if rng.random() < 0.3:
        return Call(cls.__name__, cls.from_config, {"config": cls().get_config()})
    if is_legacy:
        config["clipnorm"] = 1.0
    return Call(cls.__name__, cls, config)


@calls(1)
def loss_scale(rng: Rng) -> Call:
    arguments = {
        "inner_optimizer": rng.choice((*LEGACY, *CURRENT))(),
        "dynamic": True,
        "initial_scale": 8.0,
        "dynamic_growth_steps": 10,
    }
    return Call("LossScaleOptimizer", optimizers.LossScaleOptimizer, arguments)


@calls(2)
def attribute(rng: Rng) -> Call:
    opt, given = built(rng)
    names = [
        name
        for name in ("learning_rate", "iterations", "momentum", "epsilon", "clipnorm", "use_ema")
        if hasattr(opt, name)
    ]
    name = rng.choice(names)
    value = getattr(opt, name)
    good = value.numpy() if isinstance(value, Variable) else value
    return Call(
        type(opt).__name__,
        functools.partial(setattr, opt, name),
        {"value": good},
        [opt, given],
        positional=True,
    )


@calls(1)
def interop_call(rng: Rng) -> Call:
    opt, given = built(rng)
    which = rng.randrange(3)
    if which == 0:
        arguments = {"optimizer": opt, "arrays": values_of(opt), "variables": by_name(given)}
        return Call("load_keras_weights", interop.load_keras_weights, arguments, [opt, given])
    if which == 1:
        return Call("keras_weights", interop.keras_weights, {"optimizer": opt}, [opt, given])
    sgd = rng.choice((optimizers, legacy)).SGD(0.1, momentum=0.5)
    state = {n: {"momentum_buffer": np.ones(np.shape(v), np.float32)} for n, v in enumerate(given)}
    group = {"lr": 0.5, "momentum": 0.5, "params": [0, 1]}
    arguments = {
        "optimizer": sgd,
        "state_dict": {"state": state, "param_groups": [group]},
        "variables": given,
    }
    return Call("load_torch_state_dict", interop.load_torch_state_dict, arguments, [sgd, given])


@calls(1)
def serialized(rng: Rng) -> Call:
    which = rng.randrange(4)
    opt = rng.choice((*LEGACY, *CURRENT))()
    if which == 0:
        return Call("serialize", optimizers.serialize, {"optimizer": opt})
    if which == 1:
        return Call("deserialize", optimizers.deserialize, {"config": optimizers.serialize(opt)})
    if which == 2:
        return Call("get", optimizers.get, {"identifier": "sgd"})
    config = schedules.serialize(rng.choice(SCHEDULES)())
    return Call("deserialize", schedules.deserialize, {"config": config})


# ----- files -------------------------------------------------------------------------------------

FOLDER = Path()


@calls(1)
def files(rng: Rng) -> Call:
    if rng.random() < 0.3:
        call = {"folder": FOLDER / "manager", "max_to_keep": 3}
        return Call("CheckpointManager", slotwise.CheckpointManager, call)
    call = {"path": FOLDER / "table", "shape": (4, 3), "dtype": np.float32, "mode": "w+"}
    call |= {"fill_value": 1.0, "advice": "random"}
    return Call("open_table", slotwise.open_table, call, but=("shape",))


@calls(1)
def checkpoints(rng: Rng) -> Call:
    opt, given = built(rng)
    names = by_name(given)
    which = rng.randrange(4)
    if which == 0:
        call = {"path": FOLDER / "checkpoint", "optimizer": opt, "variables": names}
        call |= {"extra": {"a": 1}, "max_shard_size": 1 << 20}
        return Call("save", slotwise.save, call, [opt, given])
    if which == 1:
        manager = slotwise.CheckpointManager(FOLDER / "manager", 1)
        call = {"step": 3, "optimizer": opt, "variables": names}
        return Call("CheckpointManager.save", manager.save, call, [opt, given])
    saved = FOLDER / "saved"
    if not saved.exists():
        slotwise.save(saved, variables={"w": table(), "b": table()[0].copy()})
    if which == 2:
        call = {"path": saved, "name": "w", "rows": slice(1, 3), "mmap": False, "verify": True}
        return Call("load_array", slotwise.load_array, {**call, "deltas": ()})
    call = {"path": saved, "variables": {"w": given[0]}, "strict": False, "rename": {"x": "y"}}
    return Call("load", slotwise.load, {**call, "verify": "before", "mmap": False}, [opt, given])


# ----- what is asserted --------------------------------------------------------------------------

_CACHES = {
    "_prepared_steps",
    "_by_memory",
    "_by_array",
    "_base",
    "memory",
    "is_claimed",
    "_is_restored",
}
_CACHES |= {"_scaled", "_unscaled", "_apply_state", "latest", "_of_step", "_lock"}


def photograph(x: Any, seen: dict[int, Any]) -> Any:
    """All that a value is, as plain data to compare."""
    if x is None or isinstance(x, (bool, int, float, str, bytes, type)):
        return repr(x)
    if id(x) in seen:
        return ("again", seen[id(x)][0])
    seen[id(x)] = len(seen), x  # which stays alive, so that no other has its id
    if isinstance(x, np.ndarray):
        data = (
            len(x) if x.nbytes > 1 << 20 else repr(x.tolist()) if x.dtype.hasobject else x.tobytes()
        )
        return x.dtype.str, np.ndarray.shape.__get__(x), x.strides, data
    if isinstance(x, Variable):
        return x.name, photograph(x.value, seen)
    if isinstance(x, (list, tuple)):
        return [photograph(item, seen) for item in x]
    if isinstance(x, dict):
        return [
            (photograph(k, seen), photograph(v, seen)) for k, v in x.items() if k not in _CACHES
        ]
    if type(x).__module__.startswith(("slotwise", "fuzz", "__main__")):
        slots = [n for cls in type(x).__mro__ for n in getattr(cls, "__slots__", ())]
        found = {n: getattr(x, n) for n in slots if n != "__weakref__" and n not in _CACHES}
        found |= getattr(x, "__dict__", {})
        return type(x).__name__, photograph(found, seen)
    return type(x).__name__


def arrays_in(x: Any) -> Iterator[Any]:
    """The arrays of arguments."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, Variable):
        yield x.value
    elif isinstance(x, IndexedSlices):
        yield from arrays_in([x.values, x.indices])
    elif isinstance(x, (list, tuple)):
        for item in x:
            yield from arrays_in(item)
    elif isinstance(x, dict):
        yield from arrays_in(list(x.values()))


KINDS = (
    TypeError,
    ValueError,
    KeyError,
    RuntimeError,
    MemoryError,
    OSError,
    slotwise.state.StateError,
)
NOT_OURS = (
    "incompatible function arguments",
    "Unable to cast",
    "cast_error",
    "unpack",
    "too many values",
    "cannot reshape",
    "maximum supported dimension",
    "setting an array element",
    "'NoneType' object",
    "object is not",
    "has no attribute",
    "inhomogeneous",
    "ambiguous",
)
OURS = re.compile(r"(?s)^(?P<owner>[\w.'\"` -]+?)(\.\w+)*: .*expected .+got .*")


# Sentences that are Keras's, word by word, and ours that say another thing than expected and got.
SENTENCES = (
    r"^.*: (there is no checkpoint|the file is missing)",  # a StateError begins with the file
    r"^`tape` is required when a `Tensor` loss is passed",
    r"^No gradients provided for any variable: ",
    r"^Invalid type .* for .*, expected: a float",
    r"^You called `set_weights\(weights\)` on optimizer .* with a  weight list of length",
    r"^Optimizer weight shape .* not compatible with provided weight shape",
    r"^Optimizer variable .* has shape .* not compatible with provided weight shape",
    r"^You are calling `set_weights\(\)` on an optimizer that has not yet been built",
    r"^`exclude_from_weight_decay\(\)` can only be configued before the optimizer is built",
    r"^Cannot set `iterations` to a new Variable after",
    r"^\"inner_optimizer\" must be an instance of",
    r"^\"dynamic\" argument to LossScaleOptimizer.__init__ must be a bool",
    r"^\"dynamic_growth_steps\" must be None if \"dynamic\" is False",
    r"^\"initial_scale\" must be specified if \"dynamic\" is False",
    r"^`\w+` (needs|must) (to )?be .* Received: ",
    r"^Expected \w+ >= 0, received: ",
    r"^The length of boundaries should be 1 less than the length of values",
    r"^Could not interpret optimizer identifier: ",
    r"^Unknown (optimizer|decay): '.*'\. Please ensure",
    r"^`beta_1`=.* must be between \]0, 1\]\. Otherwise, the optimizer degenerates to SignSGD",
    r"^The Nadam optimizer does not support .* as the learning rate\.",
    r"^\w+ is not a valid argument, kwargs should be empty ",
    r"^initial_accumulator_value must be non-negative: ",
    r"^Unexpected keyword argument passed to optimizer: ",
    r"^At most one of `clipnorm` and `global_clipnorm` can be set",
    r"^Cannot accept both `clipnorm` and `global_clipnorm`",
    r"^Tensor conversion requested for IndexedSlices .* without dense_shape",
    r"^[\w.]+: (gradient of .*: )?(ids|indices)(\[[\d, ]+\])* = -?\d+ is not in \[0, \d+\)$",
    r"^[\w.]+\.get_slot: .* has no slot .*, but \[",
    r"^load_state_dict: .*: the state has .*, the optimizer ",
    r"^load_state_dict: (missing|unexpected): ",
    r"^load: .*: (missing|unexpected): ",
    r"^.*: there is no '.*', but ",  # load_array
    r"^Missing value of `weight_decay` which is required",
    r"^.*: '.*' ends at byte \d+, but the file has \d+: it is cut off",
    r"^.+: the header: damaged: ",  # a StateError, of a file that another call made
    r"^.*: a header of \d+ bytes does not fit \d+: damaged",
)


def wrong_with(call: Call, error: BaseException) -> str | None:
    """What is wrong with an error."""
    if isinstance(error, Theirs):
        return None
    if not isinstance(error, KINDS) or isinstance(error, UnicodeError):
        return "another type"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if found := [part for part in NOT_OURS if part in text]:
        return f"not ours: {found[0]!r}"
    if isinstance(error, OSError) and error.errno is not None:
        return None
    if isinstance(error, MemoryError) and not text:
        return None
    if any(re.search(sentence, text, re.DOTALL) for sentence in SENTENCES):
        return None
    if not OURS.match(text):
        return "not in our form"
    return None


@dataclass
class Found:
    """Something that is wrong with a call."""

    number: int
    what: str
    name: str
    error: str

    def __str__(self) -> str:
        return f"call {self.number}: {self.name}: {self.what}: {self.error}"


def run(seed: int, first: int, count: int, progress: Callable[[int], None]) -> Iterator[Found]:
    weights = [weight for weight, _ in CALLS]
    draws = [draw for _, draw in CALLS]
    left: list[tuple[int, str, Any]] = []  # arrays of refused calls
    keepers: list[Any] = []
    warnings.simplefilter("ignore")
    logging.disable()
    for number in range(first, first + count):
        progress(number)
        rng = random.Random(f"{seed} {number}")
        call = rng.choices(draws, weights)[0](rng)
        call.spoil(rng)
        known = {id(x) for kept in call.kept for x in arrays_in(kept)}
        watched = [x for x in arrays_in(call.arguments) if type(x) is np.ndarray]
        before = photograph([call.kept, watched], {})
        try:
            with np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
                call.make()
        except Exception as error:
            what, text = wrong_with(call, error), f"{type(error).__name__}: {_text(error)}"
            if what is not None:
                yield Found(number, what, call.name, text)
            if photograph([call.kept, watched], {}) != before:
                yield Found(number, "changed something", call.name, text)
            new = [x for x in watched if id(x) not in known]
            left += [(number, f"{call.name} ({text[:90]})", weakref.ref(x)) for x in new]
            keepers.append(call.kept)
            del error, new
        del call, watched, known
        if number % EVERY == EVERY - 1 or number == first + count - 1:
            gc.collect()
            for at, name, ref in left:
                if ref() is not None:
                    yield Found(at, "kept an array", name, "")
            left.clear()
            keepers.clear()
        slotwise.set_num_threads(None)
        slotwise.set_target(None)


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except Exception as other:
        return f"({type(other).__name__} in the message)"


def limit_memory(more: int) -> None:
    """Allow so many bytes more than are in use, which sanitizers have reserved."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))


def main() -> int:
    global FOLDER
    limit_memory(2 << 30)
    seed, count, FOLDER = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve()
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    os.chdir(FOLDER)  # where text that is taken for a path leads
    with open(FOLDER / "number", "wb", buffering=0) as log:

        def progress(number: int) -> None:
            os.pwrite(log.fileno(), b"%10d" % number, 0)

        wrong = [*run(seed, first, count, progress)]
    for found in wrong:
        print(str(found).encode(errors="replace").decode())
    print(f"seed {seed}: {count} calls, {len(wrong)} wrong")
    return int(len(wrong) > 0)


if __name__ == "__main__":
    sys.exit(main())
