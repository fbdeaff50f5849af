# SPDX-License-Identifier: Apache-2.0
"""Any shape, any strides of the gradient, any values and hyperparameters that there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import slotwise
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.compare import assert_same
from support.ops import CASES, DTYPES, POSITIVE, Case
from support.reference import Array

EXACT = [case for case in CASES if case.exact]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)
TARGETS = st.sampled_from(slotwise.targets())

# Numbers that meet each other's edges, or any at all.
EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 3e-5, 1e-8, 40.0, 1e4, 1e19, 1e30, np.inf, -np.inf)
NUMBERS = st.one_of(st.sampled_from((*EDGES, np.nan)), st.floats(width=32), st.floats(-10, 10))
HYPER = st.one_of(
    st.sampled_from((0.0, 1.0, -1.0, 0.9, 0.999, 1e-8, 1e-3, 0.5, 2.0, np.inf)),
    st.floats(0, 1),
    st.floats(-100, 100),
)


@st.composite
def strided(draw: st.DrawFn, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A view of this shape: axes in any order, steps forwards and backwards, gaps, repetition."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from((1, 1, 2, 3, -1, -2, 0))) for _ in shape]
    seed = draw(st.integers(0, 2**16))
    stored = [1 if step == 0 else n * abs(step) for n, step in zip(shape, steps, strict=True)]
    memory = np.random.default_rng(seed).standard_normal([stored[axis] for axis in order])
    view = memory.astype(dtype).transpose(np.argsort(order))
    view = view[tuple(slice(None, None, step or 1) for step in steps)]
    return np.broadcast_to(view, shape)


@given(data=st.data())
def test_strides_of_the_gradient(data: st.DataObject) -> None:
    """Walked in C order, whatever its layout, and left as it is."""
    case = data.draw(st.sampled_from(EXACT), "case")
    dtype = DTYPES[data.draw(st.sampled_from([*DTYPES]), "dtype")]
    shape = data.draw(SHAPES, "shape")
    slotwise.set_target(data.draw(TARGETS, "target"))
    arrays = case.draw(dtype, shape, seed=1)
    arrays[case.op.gradient] = data.draw(strided(shape, dtype), "gradient")
    before = arrays[case.op.gradient].tobytes()
    expected = case.expected(arrays)
    case.call(arrays)
    slotwise.set_target(None)
    for name in case.op.outputs:
        assert_same(arrays[name], expected[name], name)
    assert arrays[case.op.gradient].tobytes() == before


@given(data=st.data())
def test_large_strided_gradients_on_several_threads(data: st.DataObject) -> None:
    """Rows longer and shorter than the blocks that a strided gradient is copied in."""
    dtype = DTYPES[data.draw(st.sampled_from([*DTYPES]), "dtype")]
    columns = data.draw(st.sampled_from((1, 3, 511, 512, 513, 1000)), "columns")
    shape = (100_003 // columns, columns)
    case = EXACT[0]
    before = slotwise.get_num_threads()
    slotwise.set_num_threads(data.draw(st.integers(1, 4), "threads"))
    arrays = case.draw(dtype, shape, seed=2)
    arrays[case.op.gradient] = data.draw(strided(shape, dtype), "gradient")
    expected = case.expected(arrays)
    case.call(arrays)
    slotwise.set_num_threads(before)
    for name in case.op.outputs:
        assert_same(arrays[name], expected[name], name)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    case = draw(st.sampled_from(EXACT))
    hyper: dict[str, float] = {}
    for name in case.op.hyper:
        if name == "global_step":
            hyper[name] = draw(st.integers(-(2**40), 2**40))
        elif name != "lr_power":
            hyper[name] = draw(HYPER)
    if case.op.name == "ApplyProximalAdagrad":
        hyper = {name: abs(value) for name, value in hyper.items()}
        assume(np.float32(hyper["lr"]) >= np.finfo(np.float32).tiny)
    if "beta2_power" in hyper:
        hyper["beta2_power"] = min(hyper["beta2_power"], 1.0)
    if "sma_threshold" in hyper:
        hyper["sma_threshold"] = abs(hyper["sma_threshold"])
        assume(np.float32(hyper["sma_threshold"]) > 0)
    return case.but(**hyper)


@st.composite
def arrays_of(draw: st.DrawFn, case: Case, dtype: np.dtype[Any]) -> dict[str, Array]:
    size = draw(st.integers(1, 20))
    kinds = {"var": "", **case.op.slots, case.op.gradient: ""}
    arrays = {}
    with np.errstate(all="ignore"):
        for name, kind in kinds.items():
            count = case.op.shape_of(name, (size,))[0]
            x = np.array(draw(st.lists(NUMBERS, min_size=count, max_size=count)), float)
            arrays[name] = (np.abs(x) if kind == POSITIVE else x).astype(dtype)
    return arrays


@given(data=st.data())
def test_any_values_and_hyperparameters(data: st.DataObject) -> None:
    """Bit for bit the reference, on whatever target."""
    case = data.draw(cases(), "case")
    dtype = DTYPES[data.draw(st.sampled_from([*DTYPES]), "dtype")]
    arrays = data.draw(arrays_of(case, dtype), "arrays")
    expected = case.expected(arrays)
    slotwise.set_target(data.draw(TARGETS, "target"))
    case.call(arrays)
    slotwise.set_target(None)
    for name in case.op.outputs:
        assert_same(arrays[name], expected[name], name)
