# SPDX-License-Identifier: Apache-2.0
"""Variables and gradient tapes."""

from __future__ import annotations

import array
import copy
import ctypes
import operator
import pickle
import sys
from collections import deque
from pathlib import Path
from typing import Any

import autograd.numpy as anp
import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import GradientTape, IndexedSlices, Variable
from slotwise.optimizers import legacy
from support import dlpack
from support.memory import read_only


def test_a_variable_holds_the_very_array() -> None:
    array = np.ones((2, 3), np.float32)
    var = Variable(array, name="w")
    assert var.value is array
    assert np.asarray(var) is array
    assert (var.shape, var.dtype, var.ndim, var.size, len(var)) == ((2, 3), np.float32, 2, 6, 2)
    assert var.assign(np.zeros((2, 3))) is var
    assert not array.any()
    var += 1
    assert var.value is array
    assert array.all()
    assert np.asarray(var, np.float64).dtype == np.float64
    copied = var.numpy()
    copied[:] = 7
    assert isinstance(Variable(2.0).numpy(), np.float32)
    assert array.max() == 1


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.0, np.float32),
        ([1.0, 2.0], np.float32),
        (1, np.int64),
        (np.float64(1), np.float64),
        (np.ones(2), np.float64),
        (lambda: np.ones(2, np.float16), np.float16),
        (Variable(1.0), np.float32),
    ],
)
def test_dtypes(value: Any, dtype: Any) -> None:
    assert Variable(value).dtype == dtype


# ----- what is shared, and what is copied ---------------------------------------------------------


class Tensor:
    """As PyTorch's on the CPU: each array that it makes is of its own memory."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.memory[...]


class Frozen(Tensor):
    """As JAX's: its arrays are read-only."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        view = self.memory[...]
        view.flags.writeable = False
        return view


class Elsewhere(Tensor):
    """As one in the memory of another device: each array is a copy."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.memory.copy()


class WithGradient(Tensor):
    """As PyTorch's, when it requires a gradient."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


class DLPackWithGradient:
    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CPU, 0

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("Can't export tensors that require gradient")


def in_file(path: Path, mode: Any) -> Any:
    np.arange(3.0).tofile(path)
    return np.memmap(path, np.float64, mode)


@pytest.mark.parametrize(
    "export",
    [
        lambda x: x,
        lambda x: x[:],
        lambda x: Tensor(x),
        memoryview,
        lambda x: (ctypes.c_double * 3).from_buffer(x),
        dlpack.NumPyTensor,
        dlpack.Tensor,
        dlpack.VersionedTensor,
    ],
)
def test_what_is_shared(export: Any) -> None:
    memory = np.arange(3.0)
    var = Variable(export(memory))
    var.assign_add([1.0, 1.0, 1.0])
    assert memory.tolist() == [1.0, 2.0, 3.0]
    memory[0] = 7.0
    assert var.value.tolist() == [7.0, 2.0, 3.0]
    legacy.SGD(1.0).apply_gradients([(np.ones(3), var)])
    assert memory.tolist() == [6.0, 1.0, 2.0]
    assert Variable(lambda: export(memory)).value.tolist() == memory.tolist()
    with pytest.raises(TypeError, match="expected dtype float32, got float64"):
        Variable(export(memory), dtype=np.float32)


def test_buffers_and_maps_are_shared(tmp_path: Path) -> None:
    numbers = array.array("f", [1.0, 2.0])
    Variable(numbers).assign([3.0, 4.0])
    assert numbers.tolist() == [3.0, 4.0]
    raw = bytearray(b"ab")
    Variable(raw).assign([1, 2])
    assert raw == b"\x01\x02"
    mapped = in_file(tmp_path / "x", "r+")
    var = Variable(mapped)
    assert var.value is mapped
    var.assign([5.0, 6.0, 7.0])
    mapped.flush()  # type: ignore[attr-defined]
    assert np.fromfile(tmp_path / "x").tolist() == [5.0, 6.0, 7.0]
    narrow = np.zeros(2, ml_dtypes.bfloat16)
    assert Variable(narrow).value is narrow
    strided = np.zeros((4, 3))[::2]
    assert Variable(strided).value is strided


def test_what_is_copied() -> None:
    memory = np.arange(3.0)
    other = Variable(memory)
    var = Variable(other, name="copy")
    var.assign_add([1.0, 1.0, 1.0])
    assert memory.tolist() == [0.0, 1.0, 2.0]
    listed = [1.0, 2.0]
    Variable(listed).assign([5.0, 5.0])
    assert listed == [1.0, 2.0]
    assert Variable(np.float32(2.0)).value.shape == ()
    with GradientTape() as tape:
        doubled = other * 2.0
        var = Variable(doubled)
    var.assign([9.0, 9.0, 9.0])
    assert slotwise.stop_gradient(doubled).tolist() == [0.0, 2.0, 4.0]
    assert tape.gradient(doubled, other).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    "value",
    [
        read_only(np.ones(2)),
        np.broadcast_to(np.ones(1), (2,)),
        b"ab",
        memoryview(b"ab"),
        Frozen(np.ones(2)),
        dlpack.VersionedTensor(np.ones(2), read_only=True),
        lambda: read_only(np.ones(2)),
    ],
)
def test_read_only_memory_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a writable array, got a read-only one"):
        Variable(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Elsewhere(np.ones(2)), "expected memory that can be shared, got Elsewhere"),
        (WithGradient(np.ones(2)), "got WithGradient .*requires grad"),
        (DLPackWithGradient(), "got DLPackWithGradient .*require gradient"),
        (dlpack.Tensor(np.ones(2), device=dlpack.CUDA), "expected memory on the CPU, got DLPack"),
        (np.ma.masked_array([1.0, 2.0], [0, 1]), "expected an array without a mask"),
        (np.array(["a"]), "expected numbers, got dtype <U1"),
        ("text", "expected numbers, got dtype <U4 of str"),
        (None, "expected numbers, got dtype object of NoneType"),
        ({"a": 1}, "expected numbers, got dtype object of dict"),
        (np.zeros(2, [("a", "f4")]), "expected numbers, got dtype"),
        (np.array([1.0, None]), "expected numbers, got dtype object"),
    ],
)
def test_what_cannot_be_held(value: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^Variable: initial_value: .*{words}"):
        Variable(value)


def test_a_read_only_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a writable array, got a read-only one"):
        Variable(in_file(tmp_path / "x", "r"))


# ----- as TensorFlow's ----------------------------------------------------------------------------


def test_containers_tell_variables_by_identity() -> None:
    a, b, c = Variable(np.zeros(3)), Variable(np.zeros(3)), Variable(np.zeros(2))
    zero, same = Variable(0.0), Variable(0.0)
    known = [a, b, c, zero, same]
    for i, var in enumerate(known):
        assert var in known
        assert known.index(var) == i
        assert known.count(var) == 1
        assert tuple(known).index(var) == deque(known).index(var) == i
        assert operator.contains(known, var)
        assert var in (x for x in known)
    for missing in (Variable(np.zeros(3)), Variable(0.0), Variable(np.zeros((5, 5)))):
        assert missing not in known
        assert missing not in tuple(known)
        with pytest.raises(ValueError, match="not in"):
            known.index(missing)
        with pytest.raises(ValueError, match="not in"):
            known.remove(missing)
    left = list(known)
    left.remove(same)
    left.remove(b)
    assert [id(x) for x in left] == [id(a), id(c), id(zero)]
    assert [a, b] != [b, a]
    assert [a, b] == [a, b]
    assert None not in known
    assert {a, b, a} == {b, a}
    subset = [x for x in known if x not in [b, zero]]
    assert [id(x) for x in subset] == [id(a), id(c), id(same)]


def test_elsewhere_variables_are_compared_by_elements() -> None:
    a, b = Variable(np.array([1.0, 2.0])), Variable(np.array([1.0, 3.0]))
    equal = a == b
    assert equal.tolist() == [True, False]
    assert (a != b).tolist() == [False, True]
    assert operator.eq(a, b).tolist() == [True, False]
    assert type(equal & True) is type(~equal) is type(np.ones(2) * equal) is np.ndarray
    assert [(equal).all(), equal.any(), equal.sum()] == [False, True, 1]
    assert isinstance(equal[0], np.bool_)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(a == b)
    with pytest.raises(ValueError, match="ambiguous"):
        assert a == b
    one, two = Variable(1.0), Variable(1.0)
    assert one == two
    assert bool(one == two)
    answer = operator.eq(one, two)
    assert answer
    assert one != Variable(2.0)
    assert np.where(a == b, 1, 0).tolist() == [1, 0]
    assert (a == Variable(np.zeros(3))) is False
    assert (a != Variable(np.zeros(3))) is True
    assert (a == None) is False  # noqa: E711
    assert (a != None) is True  # noqa: E711
    assert (a == Variable(1.0)).tolist() == [True, False]
    assert (a == np.array([1.0, 0.0])).tolist() == [True, False]


def test_methods_of_tensorflows() -> None:
    memory = np.array([1.0, 2.0])
    var, other = Variable(memory, name="w"), Variable(memory)
    for copied in (var.read_value(), var.eval(), var.eval(session=None)):
        copied[:] = 0.0
    assert memory.tolist() == [1.0, 2.0]
    assert isinstance(Variable(1.0).read_value(), np.float32)
    assert var.get_shape() == (2,)
    assert var.initializer is None
    assert var._shared_name == "w"
    table = {var.ref(): 1, other.ref(): 2}
    assert (table[var.ref()], table[other.ref()]) == (1, 2)
    assert var.ref().deref() is var
    assert var.ref() == var.ref() != other.ref()
    assert var.ref() != 3
    assert "'w'" in repr(var.ref())


def test_copies() -> None:
    class Derived(Variable):
        pass

    for var in (Variable(np.ones(2), name="w"), Derived(np.ones(2), name="w")):
        pickled: Any = pickle.loads(pickle.dumps(var)) if type(var) is Variable else var
        for copied in (pickled, copy.deepcopy(var)):
            if copied is not var:
                copied.assign([5.0, 6.0])
            assert copied.name == "w"
        assert var.value.tolist() == [1.0, 1.0]
        with GradientTape() as tape:
            loss = (var * 2.0) * var
        assert tape.gradient(loss, var).tolist() == [4.0, 4.0]


def test_what_is_assigned_may_be_a_variable_or_recorded() -> None:
    a, b = Variable(np.ones(2)), Variable(np.array([2.0, 3.0]))
    a.assign(b)
    with GradientTape():
        a.assign_add(b)
        a.assign_sub(b * 1.0)
    assert a.value.tolist() == [2.0, 3.0]


def test_minus_of_slices() -> None:
    values = np.array([[1.0, 2.0]])
    slices = IndexedSlices(values, np.array([1]), (3, 2))
    minus = -slices
    assert (minus.values.tolist(), minus.dense_shape) == ([[-1.0, -2.0]], (3, 2))
    assert minus.indices is slices.indices
    assert values.tolist() == [[1.0, 2.0]]
    for kind in (list, tuple, Variable, memoryview, Tensor):
        assert (-IndexedSlices(kind(np.ones(2)), np.array([1, 0]))).values.tolist() == [-1, -1]
    (part,) = [IndexedSlices(dlpack.NumPyTensor(np.ones(2)), np.array([1, 0]))]
    assert (-part).values.tolist() == [-1, -1]
    var = Variable(np.zeros((3, 2)))
    legacy.SGD(1.0).apply_gradients([(-slices, var)])
    assert var.value[1].tolist() == [1.0, 2.0]


def test_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="expected dtype float32, got float64"):
        Variable(np.ones(2), dtype=np.float32)
    with pytest.raises(TypeError, match="constraint: expected a callable or None, got int"):
        Variable(1.0, constraint=3)
    for method in ("assign", "assign_add", "assign_sub"):
        var = Variable(np.zeros(3), name="w")
        with pytest.raises(ValueError, match=rf"{method}: value for 'w': expected shape \(3,\)"):
            getattr(var, method)(np.ones(2))


def test_arithmetic_is_that_of_the_array() -> None:
    x = np.array([1.0, -2.0, 3.0])
    var = Variable(x.copy())
    for got, want in (
        (var + 1, x + 1),
        (1 - var, 1 - x),
        (x * var, x * x),
        (var / var, x / x),
        (var**2, x**2),
        (-var, -x),
        (abs(var), abs(x)),
        (var > 0, x > 0),
        (var @ var, x @ x),
        (np.dot(x, var), x @ x),
        (np.stack([var, var]), np.stack([x, x])),
        (np.sum(var), x.sum()),
        (var.mean(), x.mean()),
        (var[1:], x[1:]),
        (var.reshape(3, 1), x.reshape(3, 1)),
        (np.exp(var), np.exp(x)),
        (list(var), list(x)),
    ):
        assert np.array_equal(got, want)
        assert not isinstance(got, Variable)
    scalar = Variable(2.0)
    assert (float(scalar), int(scalar), bool(scalar), f"{scalar:.1f}") == (2.0, 2, True, "2.0")
    assert {var: 1}[var] == 1
    with pytest.raises(AttributeError, match="'Variable' object has no attribute 'foo'"):
        _ = var.foo


def test_gradients() -> None:
    x = np.array([1.0, 2.0, 3.0])
    a, b = Variable(x.copy()), Variable(np.full(3, 2.0))
    with GradientTape(persistent=True) as tape:
        loss = anp.sum(anp.tanh(a * b) + x * a) + np.dot(a, x) + (b[1:] ** 2).sum()
    slope = 1 / np.cosh(x * 2) ** 2
    np.testing.assert_allclose(tape.gradient(loss, a), slope * 2 + x + x)
    np.testing.assert_allclose(tape.gradient(loss, [b])[0], slope * x + [0, 4, 4])
    unused = Variable(1.0)
    assert tape.gradient(loss, [unused]) == [None]
    assert tape.gradient(3.0, [a]) == [None]


def test_a_gradient_has_the_dtype_of_its_variable() -> None:
    var = Variable(np.ones(2, np.float32))
    with GradientTape() as tape:
        loss = (var * np.arange(2.0)).sum()
    assert tape.gradient(loss, var).dtype == np.float32


def test_output_gradients() -> None:
    var = Variable(np.array([1.0, 2.0]))
    with GradientTape(persistent=True) as tape:
        values = var * var
    assert tape.gradient(values, var).tolist() == [2, 4]
    assert tape.gradient(values, var, np.array([10.0, 1.0])).tolist() == [20, 4]
    with pytest.raises(ValueError, match=r"output_gradients: expected shape \(2,\), got \(3,\)"):
        tape.gradient(values, var, np.ones(3))


def test_a_tape_is_used_once() -> None:
    var = Variable(1.0)
    with GradientTape() as tape:
        loss = var * var
    tape.gradient(loss, var)
    with pytest.raises(RuntimeError, match="expected one call"):
        tape.gradient(loss, var)


def test_what_is_watched() -> None:
    var, fixed = Variable(1.0), Variable(2.0, trainable=False)
    with GradientTape(persistent=True) as tape:
        loss = var * fixed
    assert tape.gradient(loss, [var, fixed]) == [2, None]
    with GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(fixed)
        loss = var * fixed
    assert tape.gradient(loss, [var, fixed]) == [None, 1]


def test_gathered_rows_have_sparse_gradients() -> None:
    table, ids = Variable(np.arange(8.0).reshape(4, 2)), np.array([[3, 0], [3, 3]])
    with GradientTape(persistent=True) as tape:
        once = anp.sum(slotwise.gather(table, ids) ** 2)
        twice = once + anp.sum(slotwise.gather(table, np.array([1])))
        mixed = twice + (table * 1.0).sum()
        inner = anp.sum(slotwise.gather(table * 2.0, ids))
    grad = tape.gradient(once, table)
    assert isinstance(grad, IndexedSlices)
    assert grad.indices.tolist() == [3, 0, 3, 3]
    assert grad.values.tolist() == [[12, 14], [0, 2], [12, 14], [12, 14]]
    assert grad.dense_shape == (4, 2)
    assert sorted(tape.gradient(twice, table).indices.tolist()) == [0, 1, 3, 3, 3]
    assert tape.gradient(mixed, table).tolist() == [[1, 3], [2, 2], [1, 1], [37, 43]]
    assert tape.gradient(inner, table).tolist() == [[2, 2], [0, 0], [0, 0], [6, 6]]
    assert np.array_equal(slotwise.gather(table, ids), table.value[ids])


def test_updates_do_not_change_what_was_recorded() -> None:
    var = Variable(np.array([3.0]))
    with GradientTape() as tape:
        loss = (var * var).sum()
    var.assign(np.array([100.0]))
    assert tape.gradient(loss, var).tolist() == [6]


def test_minimize() -> None:
    a, b = Variable(1.0, name="a"), Variable(2.0, name="b", trainable=False)
    opt = legacy.SGD(0.5)
    opt.minimize(lambda: a * b, {"y": [b], "x": a})
    assert (float(a), float(b)) == (0.0, 1.5)
    opt.minimize(lambda: a * b, lambda: [a])  # called after the loss
    assert float(a) == -0.75
    with GradientTape() as tape:
        loss = a * a
    opt.minimize(loss, a, tape=tape)
    assert float(a) == 0.0
    opt.minimize(lambda: a + 0.0, a, grad_loss=np.float32(10))
    assert float(a) == -5.0
    with pytest.raises(ValueError, match="`tape` is required when a `Tensor` loss is passed"):
        opt.minimize(3.0, [a])
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        opt.minimize(lambda: a * 1.0, [b])
    with pytest.raises(TypeError, match=r"var_list: expected slotwise.Variables, got ndarray"):
        opt.minimize(lambda: a * 1.0, [np.ones(1)])


def test_minimize_on_rows() -> None:
    table = Variable(np.ones((5, 2)))
    opt = legacy.Adagrad(0.5)
    opt.minimize(lambda: anp.sum(slotwise.gather(table, np.array([1, 3, 1])) ** 2), [table])
    assert (table.value != 1).any(axis=1).tolist() == [False, True, False, True, False]


def test_without_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("autograd", "autograd.core", "autograd.numpy", "autograd.tracer"):
        monkeypatch.setitem(sys.modules, name, None)
    var = Variable(1.0)
    with pytest.raises(ImportError, match=r"pip install 'slotwise\[autodiff\]'"):
        legacy.SGD().minimize(lambda: var * var, [var])
    legacy.SGD(0.5).apply_gradients([(np.float32(1).reshape(()), var)])
