# SPDX-License-Identifier: Apache-2.0
"""Memory that changes between the steps of an optimizer, or under a call."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import optimizers
from slotwise.optimizers import legacy
from support import dlpack
from support.optimizers import APIS, both
from support.process import python
from support.reference import Array

CHANGES: dict[str, Callable[[Array], None]] = {
    "grown": lambda x: x.resize((1000, 400), refcheck=False),
    "shrunk": lambda x: x.resize((1, 4), refcheck=False),
    "reshaped": lambda x: setattr(x, "shape", (4, 30)),
    "of another dtype": lambda x: setattr(x, "dtype", np.int32),
    "read-only": lambda x: x.setflags(write=False),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of setting these attributes


@both
@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("name", ["Adam", "Adafactor", "SGD"])
def test_a_variable_that_changed_between_steps(api: Any, what: str, name: str) -> None:
    if not hasattr(api, name):
        return
    var = np.ones((30, 4), np.float32)
    opt = getattr(api, name)(0.1)
    opt.apply_gradients([(np.ones_like(var), var)])
    CHANGES[what](var)
    before = var.copy()
    for shape in ((30, 4), var.shape):
        with pytest.raises((ValueError, KeyError, TypeError)):
            opt.apply_gradients([(np.ones(shape, np.float32), var)])
    assert (var == before).all()
    assert int(opt.iterations) == 1


@both
@pytest.mark.parametrize("what", ["reshaped", "of another dtype", "read-only"])  # not its owner
def test_a_slot_that_changed_between_steps(api: Any, what: str) -> None:
    var = np.ones((30, 4), np.float32)
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones_like(var), var)])
    slots = opt.variables if api is optimizers else opt.weights
    CHANGES[what](slots[1].value)
    before = var.copy()
    with pytest.raises(ValueError, match="expected"):
        opt.apply_gradients([(np.ones_like(var), var)])
    assert (var == before).all()
    assert int(opt.iterations) == 1


RACES = {
    "gather": lambda a: slotwise.gather(a["table"], a["ids"]),
    "gather_pooled": lambda a: slotwise.gather_pooled(a["table"], a["ids"], a["offsets"]),
    "coalesce": lambda a: slotwise.coalesce(a["ids"], a["rows"], 1000),
    "RowPlan": lambda a: slotwise.RowPlan(a["ids"], 1000),
    "sparse op": lambda a: slotwise.raw_ops.SparseApplyAdagradV2(
        var=a["table"], accum=a["slot"], lr=0.1, epsilon=1e-7, grad=a["rows"], indices=a["ids"]
    ),
    "scatter": lambda a: slotwise.raw_ops.ScatterAdd(a["table"], a["ids"], a["rows"]),
    "optimizer": lambda a: legacy.SGD(0.0).apply_gradients(
        [(slotwise.IndexedSlices(a["rows"], a["ids"], (1000, 4)), a["table"])]
    ),
}


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("name", RACES)
def test_ids_that_another_thread_changes(name: str, dtype: type[np.integer]) -> None:
    """They are in range or an error, whichever call sees what; memory outside stays untouched."""
    count = 40_000
    arrays = {
        "ids": np.zeros(count, dtype),
        "rows": np.ones((count, 4), np.float32),
        "table": np.zeros((1000, 4), np.float32),
        "slot": np.ones((1000, 4), np.float32),
        "offsets": np.arange(0, count, 10),
    }
    is_over = threading.Event()

    def change() -> None:
        while not is_over.is_set():
            for value in (np.iinfo(dtype).max, -1, 3):
                arrays["ids"][::7] = value

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            try:
                RACES[name](arrays)
            except ValueError as error:
                assert "ids" in str(error) or "indices" in str(error)
    finally:
        is_over.set()
        thread.join()


def test_an_integer_divisor_that_becomes_zero() -> None:
    """Checked, then changed by another thread: no division by it."""
    ref, updates = np.full((1000, 64), 7), np.ones((1000, 64), np.int64)
    is_over = threading.Event()

    def change() -> None:
        while not is_over.is_set():
            updates[:] = 0
            updates[:] = 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            try:
                slotwise.raw_ops.ScatterDiv(ref, np.arange(1000), updates)
            except ValueError as error:
                assert "no zeros" in str(error)
    finally:
        is_over.set()
        thread.join()


class Growing:
    """Says that it has more elements each time it is asked."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def shape(self) -> tuple[int]:
        self.count += 1000
        return (self.count,)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.zeros(self.shape, dtype or np.int64)

    def __len__(self) -> int:
        return self.shape[0]


class Liar(np.ndarray):
    """An array whose attribute says another shape than it has, as a subclass may."""

    shape = property(lambda self: (50,))


@pytest.mark.parametrize("what", ["ids", "weights", "offsets"])
@pytest.mark.parametrize("make", [Growing, lambda: np.zeros(2, np.int64).view(Liar)])
def test_objects_whose_shape_is_untrue(what: str, make: Callable[[], Any]) -> None:
    """What is read is what is there; where that does not fit, an error."""
    given: dict[str, Any] = {"ids": np.zeros(2, np.int64), "offsets": [0, 1], "weights": np.ones(2)}
    given[what] = make()
    try:
        pooled = slotwise.gather_pooled(np.ones((3, 4)), **given)
    except (ValueError, TypeError) as error:
        assert "gather_pooled: " in str(error)
    else:
        expected = {"ids": [1.0, 1.0], "weights": [0.0, 0.0]}.get(what)
        assert expected is None or pooled[:, 0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_dlpack_tensors_as_ids(dtype: type[np.integer]) -> None:
    table, ids = np.arange(12.0).reshape(4, 3), np.array([3, 1, 3], dtype)
    tensor = dlpack.Tensor(ids, code=dlpack.INT)
    assert (slotwise.gather(table, tensor) == table[ids]).all()
    assert (slotwise.gather_pooled(table, tensor, [0]) == table[ids].sum(0)).all()
    assert slotwise.RowPlan(tensor, 4).unique.tolist() == [3, 1]
    unique, summed = slotwise.coalesce(tensor, np.ones((3, 2)), 4)
    assert (unique.tolist(), summed[:, 0].tolist()) == ([3, 1], [2.0, 1.0])
    slices = slotwise.IndexedSlices(np.ones((3, 3)), tensor, table.shape)
    for api in APIS:
        var = table.copy()
        api.SGD(1.0).apply_gradients([(slices, var)])
        assert (var[[0, 1, 2, 3], 0] == [0.0, 2.0, 6.0, 7.0]).all()
    with pytest.raises(TypeError, match="expected dtype int32 or int64"):
        slotwise.gather(table, dlpack.Tensor(ids.astype(np.int16), code=dlpack.INT))


def test_more_threads_than_the_system_allows() -> None:
    """The process goes on with those that it gets. (Root may have any number: so it is not.)"""
    code = """
        import os, resource
        import numpy as np, slotwise
        if os.getuid() == 0:
            os.setgroups([]); os.setgid(61234); os.setuid(61234)
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (20, hard))
        slotwise.set_num_threads(3000)
        var = np.ones(1 << 26, np.float32)
        for _ in range(3):
            slotwise.raw_ops.ApplyGradientDescent(var=var, alpha=1.0, delta=var)
            assert not var.any()
            var[:] = 1
        print("done")
    """
    run = python(textwrap.dedent(code))
    assert run.stdout.strip() == "done", run.stderr


def test_steps_of_several_plans_are_all_or_none() -> None:
    a, b = np.ones(4, np.float32), np.ones(4, np.float64)
    plans = [slotwise._core.UpdatePlan("step", "GradientDescent", [(x, "'x'", x)]) for x in (a, b)]
    count = np.zeros((), np.int64)
    hypers, rest = ((0.5,), (0.5,)), (None, None, None, "rows", None, None, "rows", None)
    good = [
        (plan, [(np.ones_like(x), x)], hypers, (), *rest)
        for plan, x in zip(plans, (a, b), strict=True)
    ]
    bad = [good[0], (plans[1], [(np.ones(5), b)], hypers, (), *rest)]
    with pytest.raises(ValueError, match="expected shape"):
        slotwise._core.apply_all(bad, ((count, 1),))
    assert (a == 1).all()
    assert int(count) == 0
    slotwise._core.apply_all(good, ((count, 1),), True)
    assert (a == 1).all()
    slotwise._core.apply_all(good, ((count, 1),))
    assert (a == 0.5).all()
    assert (b == 0.5).all()
    assert int(count) == 1
    crossed = [  # each gradient is the other's variable: read before anything is written
        (plans[0], [(a, a)], hypers, (), *rest),
        (plans[1], [(b, b)], hypers, (), *rest),
    ]
    slotwise._core.apply_all(crossed)
    assert (a == 0.25).all()
    assert (b == 0.25).all()
    counts = np.zeros(3, np.int64)
    slotwise._core.apply_all(good, ((counts, 2),))
    assert (counts == 2).all()
    with pytest.raises(TypeError, match="contiguous, writable arrays"):
        slotwise._core.apply_all(good, ((np.zeros(6, np.int64)[::2], 1),))
