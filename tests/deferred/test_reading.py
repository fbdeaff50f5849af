# SPDX-License-Identifier: Apache-2.0
"""Whoever reads a row sees it as it is now, and changes nothing."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, Variable, optimizers, raw_ops
from slotwise._variable import own_array
from support.deferred import Array, Case, Deferred, Dense, Zipf, cases

SOME = [case for case in cases()[::4] if case.name != "AdamW, average overwrites"]
ROWS, WIDTH = 60, 5


def close(mine: Any, its: Any, scale: Any) -> None:
    np.testing.assert_allclose(
        mine, its, rtol=0, atol=3e-5 * max(float(np.abs(scale).max()), 1e-30)
    )


def readers(ids: np.ndarray[Any, Any]) -> list[Callable[[Variable], Any]]:
    offsets = [0, len(ids) // 2]
    return [
        lambda var: var.numpy(),
        lambda var: var.value,
        np.asarray,
        lambda var: np.array(var),
        lambda var: var + 0.0,
        lambda var: var[3],
        lambda var: np.concatenate([var, var]),
        lambda var: slotwise.gather(var, ids),
        lambda var: slotwise.gather(var, ids.reshape(2, -1).astype(np.int32)),
        lambda var: slotwise.gather(var, ids, out=np.empty((len(ids), WIDTH), np.float32)),
        lambda var: slotwise.gather_pooled(var, ids, offsets, mode="mean"),
        lambda var: slotwise.gather_pooled([var, var], [ids, ids[:4]], [offsets, [0, 2]]),
        lambda var: slotwise.gather_pooled(var, slotwise.RowPlan(ids, ROWS), offsets),
        lambda var: var.sum(),
        lambda var: np.from_dlpack(np.array(var)),
        lambda var: var.read_value(),
        lambda var: Variable(var).value,
        lambda var: [*map(np.sum, var)],
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", SOME, ids=str)
def test_any_interleaving(case: Case, seed: int) -> None:
    """Steps, dense gradients, reads of all kinds, writes and flushes, against Keras's meaning."""
    random = np.random.default_rng(seed)
    table = random.normal(0, 0.05, (ROWS, WIDTH)).astype(np.float32)
    dense, deferred = Dense(case, table), Deferred(case, table)
    for _ in range(300):
        ids = random.integers(0, ROWS - 10, 8)
        match random.integers(0, 20):
            case 0:
                deferred.optimizer.flush()
            case 1:
                grad = random.normal(0, 0.01, table.shape).astype(np.float32)
                for run in (dense, deferred):
                    run.optimizer.apply_gradients([(grad, run.variable)])
            case 2:
                new = dense.variable.numpy()
                new[ids] += 0.01
                for run in (dense, deferred):
                    run.variable.assign(new)
            case 3 | 4 | 5:
                several = readers(ids)
                reader = several[random.integers(0, len(several))]
                close(reader(deferred.variable), reader(dense.variable), table)
            case 6:
                for name, x in dense.read().items():
                    close(deferred.read()[name], x, x)
            case _:
                grads = random.normal(0, 0.01, (8, WIDTH)).astype(np.float32)
                for run in (dense, deferred):
                    run.step(ids, grads)
    for name, x in dense.read().items():
        close(deferred.read()[name], x, x)


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        ("beta_1", 0.8, {}),
        ("beta_2", 0.99, {}),
        ("epsilon", 1e-3, {}),
        ("weight_decay", 0.1, {}),
        ("weight_decay", 60.0, {}),  # times the rate it is over 1
        ("ema_momentum", 0.9, {"use_ema": True, "ema_momentum": 0.99}),
        ("ema_overwrite_frequency", 3, {"use_ema": True, "ema_momentum": 0.5}),
        ("learning_rate", 0.0, {"weight_decay": 0.1}),
        ("learning_rate", -0.05, {}),
    ],
)
def test_hyperparameters_that_change(name: str, value: float, options: dict[str, Any]) -> None:
    case = Case("AdamW", optimizers.AdamW, {"weight_decay": 0.01, **options}, 0.02)
    stream = Zipf(7, rows=120)
    dense, deferred = Dense(case, stream.table), Deferred(case, stream.table)
    for step, (ids, grads) in zip(range(90), stream, strict=False):
        if step == 40:
            setattr(dense.optimizer, name, value)
            setattr(deferred.optimizer, name, value)
        dense.step(ids, grads)
        deferred.step(ids, grads)
    for each, x in dense.read().items():
        close(deferred.read()[each], x, x)


def test_tables_by_step_that_are_full() -> None:
    """A small table's end after 4096 steps; all rows catch up then."""
    case = Case("Adam", optimizers.Adam, rate=1e-3)
    stream = Zipf(8, rows=60, width=2, batch=4)
    dense, deferred = Dense(case, stream.table), Deferred(case, stream.table)
    for _, (ids, grads) in zip(range(4200), stream, strict=False):
        dense.step(ids, grads)
        deferred.step(ids, grads)
    for each, x in dense.read().items():
        close(deferred.read()[each], x, x)


def test_variables_that_miss_steps() -> None:
    """A variable without a gradient does not age."""
    random = np.random.default_rng(0)
    pair = []
    for mode in ("keras", "deferred"):
        variables = [Variable(np.ones((20, 3), np.float32), name=f"t{i}") for i in range(3)]
        pair.append((variables, optimizers.Adam(0.01, sparse=mode)))
        pair[-1][1].build(variables)
    for _ in range(60):
        present = [i for i in range(3) if random.random() < 0.6] or [0]
        grads = [
            IndexedSlices(
                random.normal(size=(4, 3)).astype(np.float32), random.integers(0, 20, 4), (20, 3)
            )
            for _ in present
        ]
        for variables, opt in pair:
            opt.apply_gradients([(g, variables[i]) for g, i in zip(grads, present, strict=True)])
    for x, y in zip(*(variables for variables, _ in pair), strict=True):
        close(y.numpy(), x.numpy(), x.numpy())


@pytest.mark.parametrize("clip", [{"clipnorm": 0.1}, {"clipvalue": 0.1}, {"global_clipnorm": 0.1}])
@pytest.mark.parametrize("api", [optimizers, optimizers.legacy])
def test_gradients_of_all_kinds(api: Any, clip: dict[str, float]) -> None:
    """Clipped, pooled, exact, scaled ones."""
    random = np.random.default_rng(0)
    pair = []
    for mode in ("keras", "deferred"):
        inner = api.Adam(0.01, sparse=mode, **clip)
        pair.append((Variable(np.ones((20, 3), np.float32)), optimizers.LossScaleOptimizer(inner)))
    for step in range(40):
        ids, offsets = random.integers(0, 20, 6), [0, 2, 5]
        bags = random.normal(size=(3, 3)).astype(np.float32)
        rows = random.normal(size=(6, 3)).astype(np.float32)
        for var, opt in pair:
            grad: Any = IndexedSlices(rows, ids, (20, 3))
            if step % 2:
                grad = slotwise.PooledSlices(bags, ids, offsets, dense_shape=(20, 3))
            opt.apply_gradients([(grad, var)])
    (x, _), (y, _) = pair
    close(y.numpy(), x.numpy(), x.numpy())


@pytest.mark.parametrize("case", SOME, ids=str)
def test_reads_change_no_bit(case: Case) -> None:
    stream = Zipf(1, rows=300)
    runs = [Deferred(case, stream.table) for _ in range(2)]
    for step, (ids, grads) in zip(range(200), stream, strict=False):
        for run in runs:
            run.step(ids, grads)
        if step % 7 == 0:
            before = runs[1].raw()
            for reader in readers(ids[: len(ids) // 2 * 2][:8])[:4]:
                reader(runs[1].variable)
            slotwise.gather(runs[1].variable, ids)
            runs[1].read()
            after = runs[1].raw()
            assert all(np.array_equal(before[name], x) for name, x in after.items())
    for (name, x), y in zip(runs[0].raw().items(), runs[1].raw().values(), strict=True):
        assert np.array_equal(x, y), name


@pytest.mark.parametrize("case", SOME, ids=str)
def test_a_flush_stores_what_was_read(case: Case) -> None:
    stream = Zipf(4, rows=300)
    run = Deferred(case, stream.table)
    for _, (ids, grads) in zip(range(100), stream, strict=False):
        run.step(ids, grads)
    seen = run.read()
    run.optimizer.flush(run.variable)
    assert all(np.array_equal(seen[name], x) for name, x in run.raw().items())
    assert all(np.array_equal(seen[name], x) for name, x in run.read().items())


@pytest.mark.parametrize("case", SOME, ids=str)
def test_same_bits_on_every_target_and_for_any_threads(case: Case, threads: None) -> None:
    found = []
    for target, count in [(name, 2) for name in slotwise.targets()] + [(None, 1), (None, 5)]:
        slotwise.set_target(target)
        slotwise.set_num_threads(count)
        stream = Zipf(5, rows=500, width=19, batch=200)
        run = Deferred(case, stream.table)
        for _, (ids, grads) in zip(range(60), stream, strict=False):
            run.step(ids, grads)
        found.append([*run.raw().values(), *run.read().values()])
    slotwise.set_target(None)
    for other in found[1:]:
        assert all(np.array_equal(x, y) for x, y in zip(found[0], other, strict=True))


def test_batches_in_any_order() -> None:
    stream = Zipf(6)
    runs = [Deferred(cases()[0], stream.table) for _ in range(2)]
    for _, (ids, grads) in zip(range(100), stream, strict=False):
        runs[0].step(ids, grads)
        runs[1].step(ids[::-1], grads[::-1])
    assert all(np.array_equal(x, runs[1].raw()[name]) for name, x in runs[0].raw().items())


def test_rows_are_never_torn() -> None:
    """Whoever reads while a step runs sees rows from before it, or from after it."""
    var = Variable(np.zeros((2000, 64), np.float32), name="table")
    opt = optimizers.Adam(0.01, sparse="deferred")
    ids = np.arange(0, 2000, 2)
    slices = IndexedSlices(np.ones((1000, 64), np.float32), ids, var.shape)
    opt.apply_gradients([(slices, var)])
    faults: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            rows = slotwise.gather(var, np.arange(2000))
            if not (rows == rows[:, :1]).all():
                faults.append("torn")
            if len(np.unique(rows[::2, 0])) != 1:
                faults.append("of several steps")

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(200):
        opt.apply_gradients([(slices, var)])
    done.set()
    thread.join()
    assert not faults


# ----- what is refused ----------------------------------------------------------------------------


def behind() -> tuple[np.ndarray[Any, Any], Variable, Any]:
    """An array, the variable of it, and an optimizer that puts off steps of its rows."""
    array = np.ones((4, 2), np.float32)
    var, opt = Variable(array, name="table"), optimizers.Adam(0.1, sparse="deferred")
    for _ in range(3):
        opt.apply_gradients(
            [(IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2)), var)]
        )
    return array, var, opt


def test_indices() -> None:
    """What an index selects is what it selects of the whole, whichever rows are computed."""
    random = np.random.default_rng(0)
    var = Variable(random.normal(size=(9, 4, 3)).astype(np.float32), name="table")
    line = Variable(random.normal(size=7).astype(np.float32), name="line")
    opt = optimizers.Adam(0.1, sparse="deferred")
    opt.build([var, line])
    for _ in range(3):
        for each in (var, line):
            grad = np.ones((2, *each.shape[1:]), np.float32)
            opt.apply_gradients([(IndexedSlices(grad, np.array([1, 4]), each.shape), each)])
    keys: list[Any] = [
        *(0, -1, np.int32(3), slice(2, None, 2), slice(None, None, -1), [0, -2], [], True, None),
        *(..., (3, 1), (slice(1, 3), 0), ([1, 2], slice(0, 2)), ([1, 2], [0, 1]), (..., 1)),
        *(np.array([[0, 1], [4, -5]]), np.arange(9) > 4, (2, slice(None), 1), (), np.int64(4)),
        np.array(3),
    ]
    for key in keys:
        np.testing.assert_array_equal(var[key], var.numpy()[key], str(key))
        assert np.shape(var[key]) == np.shape(var.numpy()[key])
    assert type(line[2]) is np.float32
    assert line[[1, -1]].tolist() == line.numpy()[[1, -1]].tolist()
    for key in (9, -10, [0, 9], 2.5, "a", (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            var[key]
    with pytest.raises(ValueError, match="read-only"):
        var[2][0] = 1


def test_what_is_shown_cannot_be_written() -> None:
    _, var, _ = behind()
    for shown in (var.value, np.asarray(var)):
        with pytest.raises(ValueError, match="read-only"):
            shown[0] = 5
    with pytest.raises(ValueError, match="var: expected"):
        raw_ops.ApplyGradientDescent(var=var.value, alpha=0.1, delta=np.ones((4, 2), np.float32))


def test_memory_that_is_behind_is_refused(tmp_path: Any) -> None:
    array, var, opt = behind()
    ids, ones = np.array([0]), np.ones((4, 2), np.float32)
    lazy = optimizers.SGD(0.1, sparse="lazy")
    for use in (
        lambda: slotwise.gather(array, ids),
        lambda: slotwise.gather(array[1:], ids),
        lambda: slotwise.gather_pooled(array, ids, [0]),
        lambda: raw_ops.ApplyGradientDescent(var=array, alpha=0.1, delta=ones),
        lambda: raw_ops.ApplyGradientDescent(var=ones, alpha=0.1, delta=array),
        lambda: raw_ops.ScatterAdd(array, ids, ones[:1]),
        lambda: lazy.apply_gradients([(ones, array)]),
        lambda: lazy.apply_gradients([(ones, var)]),
        lambda: slotwise.save(tmp_path / "one", variables=[var]),
        lambda: slotwise.save(tmp_path / "array", variables={"table": array}),
        lambda: slotwise.save(tmp_path / "state", optimizer=opt),
    ):
        with pytest.raises(ValueError, match="rows are up to date"):
            use()
    opt.flush()
    assert np.array_equal(slotwise.gather(array, ids), array[:1])
    lazy.apply_gradients([(ones, var)])


def test_another_optimizer_of_the_same_variable() -> None:
    _, var, opt = behind()
    other = optimizers.Adam(0.1, sparse="deferred")
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
    with pytest.raises(ValueError, match="no other optimizer puts off"):
        other.apply_gradients([(ones, var)])
    before = var.numpy()
    del opt  # which puts off no more
    other.apply_gradients([(ones, var)])
    assert not np.array_equal(before, var.numpy())
    assert np.array_equal(own_array(var)[0], before[0])  # which it had made up for


def test_variables_of_one_memory() -> None:
    array, var, opt = behind()
    again = Variable(array, name="table")
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([2]), (4, 2))
    with pytest.raises(ValueError, match="rows are up to date"):
        slotwise.gather(again, np.array([1]))
    opt._prepared_steps.forget()
    opt.apply_gradients([(ones, again)])
    assert np.array_equal(again.numpy(), var.numpy())


def test_a_variable_that_was_replaced_is_told() -> None:
    array, var, opt = behind()
    opt.flush()
    del array, var
    other = Variable(np.ones((4, 2), np.float32), name="table")
    with pytest.raises(KeyError, match="nothing else refers to any more"):
        opt.apply_gradients([(np.ones((4, 2), np.float32), other)])


def test_slots_that_change() -> None:
    """Options that are switched on or off go on with what there is."""
    variables = [Variable(np.ones((20, 3), np.float32), name="t") for _ in range(2)]
    pair = [
        optimizers.SGD(0.1, momentum=0.9, sparse=mode, use_ema=True)
        for mode in ("keras", "deferred")
    ]
    random = np.random.default_rng(0)
    for step in range(40):
        ids = random.integers(0, 20, 4)
        grad = IndexedSlices(random.normal(size=(4, 3)).astype(np.float32), ids, (20, 3))
        for var, opt in zip(variables, pair, strict=True):
            if step % 10 == 9:
                opt.nesterov = not opt.nesterov
            if step % 15 == 14:
                opt.momentum = 0.0 if step == 14 else 0.9
            opt.apply_gradients([(grad, var)])
        close(variables[1].numpy(), variables[0].numpy(), variables[0].numpy())


def test_files_are_refused(tmp_path: Any) -> None:
    file = np.memmap(tmp_path / "table", np.float32, "w+", shape=(4, 2))
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
    for array in (file, file[1:], np.asarray(file)):
        opt = optimizers.Adam(sparse="deferred")
        grad = ones if len(array) == 4 else IndexedSlices(ones.values, ones.indices, (3, 2))
        with pytest.raises(ValueError, match="left behind when the process ends"):
            opt.apply_gradients([(grad, Variable(array))])


def test_dense_variables_are_what_they_were() -> None:
    """Only variables with gradients of rows are put off; they may begin with dense ones."""
    table, bias = Variable(np.ones((4, 2), np.float32)), np.float32(1) + np.zeros((), np.float32)
    weights, scale = np.ones((3, 3), np.float32), Variable(bias)
    opt = optimizers.Adam(0.1, sparse="deferred")
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
    for step in range(4):
        grad: Any = ones if step else np.ones((4, 2), np.float32)
        opt.apply_gradients(
            [(grad, table), (np.ones((3, 3), np.float32), weights), (np.float32(1), scale)]
        )
    assert scale._deferred is None
    assert np.allclose(weights, 0.6)
    assert np.allclose(scale.value, 0.6)
    assert table._deferred is not None
    twin, keras = Variable(np.ones((4, 2), np.float32)), optimizers.Adam(0.1)
    for step in range(4):
        keras.apply_gradients([(ones if step else np.ones((4, 2), np.float32), twin)])
    close(table.numpy(), twin.numpy(), twin.numpy())


def test_another_mode() -> None:
    _, var, opt = behind()
    opt.sparse = "lazy"
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
    with pytest.raises(ValueError, match="expected 'deferred', as in the steps before"):
        opt.apply_gradients([(ones, var)])


def test_copies() -> None:
    _, var, opt = behind()
    opt.flush()
    again, twin = copy.deepcopy((opt, var))
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([2]), (4, 2))
    for _ in range(3):
        opt.apply_gradients([(ones, var)])
        again.apply_gradients([(ones, twin)])
    assert np.array_equal(var.numpy(), twin.numpy())


def test_saving_after_a_flush(tmp_path: Any) -> None:
    _, var, opt = behind()
    opt.flush()
    slotwise.save(tmp_path / "a", optimizer=opt, variables=[var])
    fresh, again = (
        Variable(np.zeros((4, 2), np.float32), name="table"),
        optimizers.Adam(0.1, sparse="deferred"),
    )
    slotwise.load(tmp_path / "a", optimizer=again, variables=[fresh])
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([2]), (4, 2))
    for _ in range(5):
        opt.apply_gradients([(ones, var)])
        again.apply_gradients([(ones, fresh)])
    assert np.array_equal(var.numpy(), fresh.numpy())


Made = Callable[[], Any]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.Adam(beta_1=0.9, beta_2=0.9, sparse="deferred"), "more than 16 terms"),
        (lambda: optimizers.Adam(beta_1=0.99, beta_2=0.9, sparse="deferred"), "ever farther"),
        (lambda: optimizers.SGD(momentum=0.9999, sparse="deferred"), "more than 32768 steps"),
        (lambda: optimizers.Ftrl(use_ema=True, sparse="deferred"), "no closed form"),
        (
            lambda: optimizers.Ftrl(l2_shrinkage_regularization_strength=0.1, sparse="deferred"),
            "no closed form",
        ),
    ],
)
def test_steps_that_cannot_be_put_off(make: Made, message: str) -> None:
    var, opt = Variable(np.ones((4, 2), np.float32)), make()
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
    with pytest.raises(ValueError, match=message):
        opt.apply_gradients([(ones, var)])
    assert (var.numpy() == 1).all()
    assert int(opt.iterations) == 0


@pytest.mark.parametrize("name", ["AdaBelief", "Lamb", "Adafactor", "RAdam"])
def test_optimizers_that_refuse(name: str) -> None:
    with pytest.raises(ValueError, match="sparse: expected"):
        getattr(optimizers, name)(sparse="deferred")


def test_variables_that_are_refused() -> None:
    ones = IndexedSlices(np.ones((1, 2), np.float32), np.array([1]), (4, 2))
    opt = optimizers.Adam(sparse="deferred")
    with pytest.raises(TypeError, match=r"expected a slotwise\.Variable"):
        opt.apply_gradients([(ones, np.ones((4, 2), np.float32))])
    bounded = Variable(np.ones((4, 2), np.float32), constraint=lambda x: np.minimum(x, 1))
    with pytest.raises(ValueError, match="expected no constraint"):
        opt.apply_gradients([(ones, bounded)])
    with pytest.raises(ValueError, match="gradient_accumulation_steps"):
        optimizers.Adam(sparse="deferred", gradient_accumulation_steps=2)


SIZES = (1e19, 1e20, 1e30, 3e38, np.inf)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_slots_that_overflow(case: Case, size: float) -> None:
    """Where Keras's row is NaN, so is this one; where slots are infinite and rows finite, too.

    The row counts after each step. Its slots count after its next gradient: until then, infinity
    may stand where Keras has NaN already (Nadam, the centered RMSprop, Ftrl).
    """
    if not isinstance(case.rate, float):
        return
    table = np.full((6, 5), 0.5, np.float32)
    dense, deferred = Dense(case, table), Deferred(case, table)
    for ids, value in (([1], size), ([2], 1.0), ([2], 1.0), ([2], 1.0), ([1], 0.5), ([2], 1.0)):
        for run in (dense, deferred):
            with np.errstate(all="ignore"):
                run.step(np.array(ids), np.full((1, 5), value, np.float32))
        assert_as_finite(deferred.read()["var"], dense.read()["var"], "var")
    for name, x in dense.read().items():
        assert_as_finite(deferred.read()[name], x, name)


def assert_as_finite(y: Array, x: Array, name: str) -> None:
    """NaN at the same places, and what is finite in one is about the same in the other."""
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x), f"{name}: {x[1]} {y[1]}")
    finite = np.isfinite(x)
    np.testing.assert_allclose(y[finite], x[finite], rtol=3e-5, atol=1e-30, err_msg=name)


def test_readers_do_not_hold_up_steps() -> None:
    """Threads that read without a pause let a step in between; here, 20 of them in time."""
    table = Variable(slotwise.zeros((50_000, 32)), name="table")
    opt = optimizers.Adam(0.1, sparse="deferred")
    rows = IndexedSlices(np.ones((1, 32), np.float32), np.array([5]), table.shape)
    opt.apply_gradients([(rows, table)])
    done = threading.Event()
    reads = [0] * 4

    def read(number: int) -> None:
        while not done.is_set():
            table.numpy()
            reads[number] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        before = sum(reads)
        for _ in range(20):
            opt.apply_gradients([(rows, table)])
        # (A step waits for the reads under way, of which each thread has one: not for later ones.)
        assert sum(reads) - before < 20 * 4 * 4
    finally:
        done.set()
        for thread in threads:
            thread.join()
