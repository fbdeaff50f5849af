"""Variables and gradient tapes."""

from __future__ import annotations

import sys
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
import slotwise
from slotwise import GradientTape, IndexedSlices, Variable
from slotwise.optimizers import legacy


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
