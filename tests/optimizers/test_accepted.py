# SPDX-License-Identifier: Apache-2.0
"""Which lists of gradients and variables optimizers take, and how they refuse others."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from slotwise import IndexedSlices, RowPlan, Variable, optimizers
from slotwise.optimizers import LossScaleOptimizer, legacy
from support import dlpack
from support.optimizers import APIS, both, every
from support.reference import Array

VALUES = np.array([[1.0, 2.0], [3.0, 4.0], [0.5, -1.0]], np.float32)
IDS = np.array([2, 0, 2])
SHAPE = (4, 2)


class Coo:
    """A sparse tensor of PyTorch, as far as its methods go."""

    is_sparse = True

    def __init__(self, ids: Any, values: Any, shape: Any = SHAPE) -> None:
        self.ids, self._its_values, self.shape = ids, values, shape

    def _indices(self) -> Any:
        return self.ids

    def _values(self) -> Any:
        return self._its_values

    def _nnz(self) -> int:
        return len(self._its_values)

    def indices(self) -> Any:
        raise RuntimeError("Cannot get indices on an uncoalesced tensor")

    values = indices

    def __dlpack__(self, **kwargs: Any) -> Any:
        raise BufferError("Can't export tensors with layout other than torch.strided")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class Dense(dlpack.Tensor):
    """A dense tensor of PyTorch: it has the methods of a sparse one."""

    is_sparse = False

    def _refuse(self) -> Any:
        raise RuntimeError("_indices expected sparse coordinate tensor layout but got Strided")

    _indices = _values = _nnz = indices = values = _refuse


class Slices:
    """TensorFlow's IndexedSlices, as far as its attributes go."""

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values, self.indices, self.dense_shape = values, indices, dense_shape


_tensors: list[Any] = []  # which are to live longer than arrays of their memory


def tensor(array: Array, cls: Any = dlpack.Tensor) -> Any:
    _tensors.append(cls(array, code=dlpack.INT if array.dtype.kind == "i" else dlpack.FLOAT))
    return _tensors[-1]


# All the same gradient.
SPARSE: dict[str, Callable[[], Any]] = {
    "arrays": lambda: IndexedSlices(VALUES, IDS, SHAPE),
    "lists": lambda: IndexedSlices(VALUES.tolist(), IDS.tolist(), SHAPE),
    "tuples": lambda: IndexedSlices(tuple(map(tuple, VALUES)), tuple(IDS), SHAPE),
    "Variables": lambda: IndexedSlices(Variable(VALUES.copy()), Variable(IDS.copy()), SHAPE),
    "tensors": lambda: IndexedSlices(tensor(VALUES), tensor(IDS), SHAPE),
    "a RowPlan": lambda: IndexedSlices(VALUES, RowPlan(IDS, 4), SHAPE),
    "TensorFlow's": lambda: Slices(tensor(VALUES), tensor(IDS), np.array(SHAPE)),
    "TensorFlow's of int32": lambda: Slices(VALUES, IDS.astype(np.int32), np.array(SHAPE)),
    "PyTorch's": lambda: Coo(IDS[None], VALUES),
    "PyTorch's of tensors": lambda: Coo(tensor(IDS[None]), tensor(VALUES)),
}


@pytest.mark.parametrize("what", SPARSE)
@every
def test_sparse_gradients_of_every_kind(api: Any, name: str, what: str) -> None:
    one, other = np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    a, b = getattr(api, name)(0.1), getattr(api, name)(0.1)
    for _ in range(3):
        a.apply_gradients([(SPARSE["arrays"](), one), (np.ones(2), b_of(one))])
        b.apply_gradients([(SPARSE[what](), other), (np.ones(2), b_of(other))])
    assert np.array_equal(one, other)


_beside: dict[int, Array] = {}


def b_of(array: Array) -> Array:
    return _beside.setdefault(id(array), np.zeros(2))


@pytest.mark.parametrize("what", SPARSE)
@both
def test_sparse_gradients_around_a_step(api: Any, what: str) -> None:
    """Clipping, constraints, loss scaling and hooks take them, too."""

    class Hooked(api.SGD):
        def update_step(self, gradient: Any, variable: Any) -> None:
            assert isinstance(gradient, IndexedSlices)
            super().update_step(gradient, variable)

        def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, **kwargs: Any) -> Any:
            assert isinstance(grad, np.ndarray)
            return super()._resource_apply_sparse(grad, var, indices, **kwargs)

    for make in (
        lambda: api.SGD(0.5, global_clipnorm=1.0),
        lambda: LossScaleOptimizer(api.SGD(0.5), initial_scale=2.0),
        lambda: Hooked(0.5),
    ):
        results = []
        for kind in ("arrays", what):
            opt, table = make(), np.ones(SHAPE, np.float32)
            for _ in range(2):
                grad = SPARSE[kind]()
                if isinstance(opt, LossScaleOptimizer) and kind != "a RowPlan":
                    [grad] = opt.get_unscaled_gradients([grad])
                opt.apply_gradients([(grad, table)])
            results.append(table)
        if what != "a RowPlan":
            assert np.array_equal(*results)
    var = Variable(np.ones(SHAPE, np.float32), constraint=lambda w: w)
    if api is legacy:
        opt = legacy.SGD(0.5)
        opt.apply_gradients([(np.ones(SHAPE, np.float32), var)])
        with pytest.raises(RuntimeError, match="Cannot use a constraint function on a sparse"):
            opt.apply_gradients([(SPARSE[what](), var)])


@every
def test_a_variable_as_a_gradient(api: Any, name: str) -> None:
    """Sums of gradients are kept in variables."""
    one, other, total = np.ones(3), np.ones(3), Variable(np.array([1.0, -2.0, 3.0]))
    a, b = getattr(api, name)(0.1), getattr(api, name)(0.1)
    for _ in range(3):
        a.apply_gradients([(total.numpy(), one)])
        b.apply_gradients([(total, other)])
        total.assign_add(np.ones(3))
    assert np.array_equal(one, other)
    assert np.array_equal(total, [4.0, 1.0, 6.0])
    b.apply_gradients([(Variable(other), Variable(other))])  # of its own memory


@pytest.mark.parametrize("name", ["SGD", "Adam", "Nadam", "Ftrl"])
def test_lists_and_numbers_as_gradients(name: str) -> None:
    for grad, shape in (
        ([0.1, 0.2], (2,)),
        ((0.1, 0.2), (2,)),
        ([[1, 2], (3, 4)], (2, 2)),
        ([np.float32(0.1), Variable(0.2)], (2,)),
        ([], (0,)),
    ):
        for dtype in (np.float32, np.float64, ml_dtypes.bfloat16):
            one, other = (np.ones(shape, dtype) for _ in range(2))
            a, b = getattr(legacy, name)(0.1), getattr(legacy, name)(0.1)
            for _ in range(2):
                a.apply_gradients([(np.asarray(grad).astype(dtype), one)])
                b.apply_gradients([(grad, other)])
            assert np.array_equal(one, other)
            current = getattr(optimizers, name)(0.1)
            with pytest.raises(TypeError, match=r"gradient of variable 0 of .*, got (list|t)"):
                current.apply_gradients([(grad, other)])
    for api in APIS:
        mine, its = Variable(1.0), Variable(1.0)
        for number in (0.5, 2):
            getattr(api, name)(0.1).apply_gradients([(np.float32(number), mine)])
            getattr(api, name)(0.1).apply_gradients([(number, its)])
        assert float(mine) == float(its)


def test_a_callable_rate_is_asked_once_a_step() -> None:
    calls: list[None] = []
    opt, var = legacy.SGD(lambda: calls.append(None) or 0.5), np.zeros(2)
    for grad in (np.ones(2), Variable(np.ones(2)), [1.0, 1.0], Variable(np.ones(2))):
        opt.apply_gradients([(grad, var)])
    assert len(calls) == 4
    assert var.tolist() == [-2.0, -2.0]


@both
def test_dense_tensors(api: Any) -> None:
    var, opt = np.zeros(3, np.float32), api.SGD(1.0)
    opt.apply_gradients([(tensor(np.ones(3, np.float32), Dense), var)])
    opt.apply_gradients([(tensor(np.ones(3, np.float32), Dense), var)])
    assert var.tolist() == [-2.0] * 3


def test_nothing_is_copied_or_imported() -> None:
    slices = IndexedSlices(VALUES, IDS, SHAPE)
    from slotwise.optimizers import _gradients

    [(same, _)] = _gradients.accepted("op", [(slices, np.ones(SHAPE, np.float32))], False)
    assert same is slices
    theirs = _gradients.plain(Slices(tensor(VALUES), tensor(IDS)))
    assert np.shares_memory(theirs.values, VALUES)
    assert np.shares_memory(theirs.indices, IDS)
    coo = _gradients.plain(Coo(tensor(IDS[None]), tensor(VALUES)))
    assert np.shares_memory(coo.values, VALUES)
    assert np.shares_memory(coo.indices, IDS)
    assert coo.dense_shape == SHAPE
    code = "import sys, slotwise; print({'torch', 'tensorflow', 'jax'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


# ----- what is refused ---------------------------------------------------------------------------

ONES = np.ones(3)
# Lists, and what is said of them; V stands for a variable.
MALFORMED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "None": (lambda v: None, TypeError, r"grads_and_vars: expected a list of \(gradient, variable"),
    "a number": (lambda v: 3, TypeError, "grads_and_vars: expected a list of .*, got int"),
    "an array": (lambda v: ONES, TypeError, "grads_and_vars: expected a list of .*, got ndarray"),
    "a dict": (lambda v: {"g": v}, TypeError, "grads_and_vars: expected a list of .*, got dict"),
    "no pairs": (lambda v: [None], TypeError, r"grads_and_vars\[0\]: expected a pair .*, got None"),
    "three": (
        lambda v: [(ONES, v), (ONES, v, 1)],
        TypeError,
        r".*\[1\]: expected a pair .*3 items",
    ),
    "one": (lambda v: [(ONES,)], TypeError, r".*\[0\]: expected a pair .*, got 1 items"),
    "text": (lambda v: ["ab"], TypeError, r".*\[0\]: expected a pair .*, got str"),
    "one pair alone": (lambda v: (ONES, v), TypeError, r".*\[0\]: expected a pair .*, got ndarray"),
    "a pair of rows": (
        lambda v: [np.ones((2, 3))],
        TypeError,
        r".*\[0\]: expected a pair .*ndarray",
    ),
    "no variable": (
        lambda v: [(ONES, v), (ONES, [1.0] * 3)],
        TypeError,
        r"variable 1: expected a slotwise\.Variable or an ndarray, got list",
    ),
    "swapped": (lambda v: [(v, 0.5)], TypeError, r"variable 0: expected a slotwise\.Variable"),
    "an object": (
        lambda v: [(object(), v)],
        TypeError,
        r"gradient of variable 0 of shape \(3,\): ",
    ),
    "text as a gradient": (lambda v: [("abc", v)], TypeError, "gradient of variable 0 of shape"),
    "a bool": (lambda v: [(True, v)], TypeError, "gradient of variable 0 of shape"),
    "another shape": (
        lambda v: [(np.ones(4), v)],
        ValueError,
        r"gradient of variable 0 of shape \(3,\): expected shape \(3,\).*, got \(4,\)",
    ),
    "float ids": (
        lambda v: [(IndexedSlices(np.ones(1), [0.5]), v)],
        TypeError,
        r"gradient of variable 0 .*: indices: expected dtype int32 or int64.*, got float64",
    ),
    "ids out of range": (
        lambda v: [(IndexedSlices(np.ones(1), (3,)), v)],
        ValueError,
        r"gradient of variable 0 of shape \(3,\): indices.*3 is not in",
    ),
    "ragged ids": (
        lambda v: [(IndexedSlices(np.ones(1), [[1], [2, 3]]), v)],
        TypeError,
        r"gradient\.indices of variable 0 of shape \(3,\): expected numbers, got \[\[1\], "
        r"\[2, 3\]\]",
    ),
    "objects as values": (
        lambda v: [(IndexedSlices([None], [1]), v)],
        TypeError,
        r"gradient\.values of variable 0 of shape \(3,\): expected numbers, got object",
    ),
    "a tensor of pairs of ids": (
        lambda v: [(Coo(np.zeros((2, 3), int), np.ones(3)), v)],
        TypeError,
        r"gradient of variable 0 .*: expected a sparse tensor with one dimension of ids",
    ),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["at first", "later"])
@pytest.mark.parametrize("what", MALFORMED)
@both
def test_malformed_lists(api: Any, what: str, is_first: bool) -> None:
    make, error, text = MALFORMED[what]
    opt, v = api.Adam(0.1, name="mine"), np.ones(3)
    if not is_first:
        opt.apply_gradients([(np.zeros(3), v)])
    with pytest.raises(error, match=r"^mine\.apply_gradients: " + text) as caught:
        opt.apply_gradients(make(v))
    assert (v == 1).all()
    assert "tf.keras" not in str(caught.value)
    scaled = LossScaleOptimizer(api.SGD(0.1))
    with pytest.raises(error, match=r"^(LossScaleOptimizer(V3)?|SGD)\.apply_gradients: " + text):
        scaled.apply_gradients(make(v))
    assert (v == 1).all()
    assert int(scaled.iterations) == 0


def test_lists_that_are_no_arrays() -> None:
    v = np.ones(3)
    for bad in ([[1], [2, 3]], ["a", "b", "c"], [None] * 3, [1j] * 3, [True] * 3, [2**70] * 3):
        with pytest.raises(TypeError, match=r"^SGD\.apply_gradients: gradient of variable 0 of sh"):
            legacy.SGD(1.0).apply_gradients([(bad, v)])
    with pytest.raises(ValueError, match=r"expected shape \(3,\)"):
        legacy.SGD(1.0).apply_gradients([([1.0, 2.0], v)])
    assert (v == 1).all()


@both
def test_errors_name_the_variable_by_its_place(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    arrays: list[Any] = [np.ones(3), np.ones((2, 3)), Variable(np.ones(4))]
    arrays.append(Variable(np.ones(5), name="w"))
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(x.shape), x) for x in arrays])
    for place, name in enumerate(
        ("variable 0 of shape (3,)", "variable 1 of shape (2, 3)", "variable 2 of shape (4,)")
    ):
        for missing in (None, 0):  # which is left out
            pairs = [
                (np.ones(7 if i == place else x.shape), x) if i != missing else (None, x)
                for i, x in enumerate(arrays)
            ]
            if place != missing:
                with pytest.raises(ValueError, match="gradient of") as caught:
                    opt.apply_gradients(pairs)
                assert f"Adam.apply_gradients: gradient of {name}: " in str(caught.value)
    with pytest.raises(ValueError, match=r"gradient of 'w' \(variable 3 of shape \(5,\)\): expec"):
        opt.apply_gradients([(np.ones(x.shape), x) for x in arrays[:3]] + [(np.ones(4), arrays[3])])
    caplog.clear()
    with caplog.at_level(logging.WARNING, "slotwise"):
        opt.apply_gradients([(None, arrays[1]), (None, arrays[3]), (np.ones(3), arrays[0])])
    assert "for variables ['variable 0 of shape (2, 3)', 'w'] when" in caplog.text
    assert "model.compile" not in caplog.text
    with pytest.raises(ValueError, match=r"\(\['variable 0 of shape \(3,\)', 'w'\],\)\.$"):
        opt.apply_gradients([(None, arrays[0]), (None, arrays[3])])
