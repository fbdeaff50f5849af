# SPDX-License-Identifier: Apache-2.0
"""State of rows that are behind: saved as it is, and gone on with to the same bits."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, Variable, optimizers
from slotwise._variable import own_array
from slotwise.state import StateError
from support.deferred import Case, Deferred, Dense, Zipf, cases

CASES = [*cases(), Case("SGD, decay", optimizers.SGD, {"weight_decay": 0.01})]  # without slots
STEPS = 150


def ran(case: Case, steps: int, **stream: Any) -> tuple[Deferred, Zipf]:
    its = Zipf(3, rows=300, **stream)
    run = Deferred(case, its.table)
    go_on(run, its, steps)
    return run, its


def go_on(run: Dense, stream: Zipf, steps: int) -> None:
    for _, (ids, grads) in zip(range(steps), stream, strict=False):
        run.step(ids, grads)


def fresh(case: Case, like: Dense, kind: type[Dense] = Deferred) -> Dense:
    made = kind(case, np.zeros_like(own_array(like.variable)))
    made.steps = like.steps
    return made


def save(path: Path, run: Dense) -> None:
    slotwise.save(path, optimizer=run.optimizer, variables=[run.variable])


def load(path: Path, run: Dense, **arguments: Any) -> slotwise.state.Loaded:
    return slotwise.load(path, optimizer=run.optimizer, variables=[run.variable], **arguments)


def assert_same(one: Deferred, other: Dense) -> None:
    assert isinstance(other, Deferred)
    for read in (Deferred.raw, Deferred.read):
        for (name, x), y in zip(read(one).items(), read(other).values(), strict=True):
            np.testing.assert_array_equal(x, y, name)


@pytest.mark.parametrize("flushes", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_resumes_to_the_same_bits(case: Case, flushes: bool, tmp_path: Path) -> None:
    run, stream = ran(case, STEPS)
    if flushes:
        run.optimizer.flush()
    save(tmp_path / "state", run)
    again = fresh(case, run)
    load(tmp_path / "state", again)
    assert_same(run, again)
    for _, (ids, grads) in zip(range(100), stream, strict=False):
        run.step(ids, grads)
        again.step(ids, grads)
    assert_same(run, again)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loads_into_the_other_meanings(case: Case, tmp_path: Path) -> None:
    run, stream = ran(case, STEPS)
    seen = run.read()
    save(tmp_path / "state", run)
    for made in (fresh(case, run, Dense), fresh(case, run)):
        load(tmp_path / "state", made, strict=False)
        for (name, x), y in zip(seen.items(), made.read().values(), strict=True):
            np.testing.assert_array_equal(x, y, name)
    dense = fresh(case, run, Dense)
    load(tmp_path / "state", dense, strict=False)
    save(tmp_path / "keras", dense)
    back = fresh(case, run)
    load(tmp_path / "keras", back, strict=False)
    for (name, x), y in zip(seen.items(), back.read().values(), strict=True):
        np.testing.assert_array_equal(x, y, name)
    del stream


def test_loading_over_rows_that_are_behind(tmp_path: Path) -> None:
    case = CASES[0]
    run, stream = ran(case, 60)
    save(tmp_path / "early", run)
    early = run.read()
    go_on(run, stream, 60)
    load(tmp_path / "early", run)
    for (name, x), y in zip(early.items(), run.read().values(), strict=True):
        np.testing.assert_array_equal(x, y, name)


def test_optimizers_that_are_saved_with_it(tmp_path: Path) -> None:
    run, stream = ran(CASES[0], 60)
    path = tmp_path / "several"
    slotwise.save(path, optimizer={"a": run.optimizer}, variables=[run.variable])
    other = Variable(np.zeros_like(own_array(run.variable)), name="table")
    loaded = slotwise.load(path, optimizer="saved", variables=[other])
    for ids, grads in (next(iter(stream)) for _ in range(50)):
        run.step(ids, grads)
        loaded.optimizer["a"].apply_gradients([(IndexedSlices(grads, ids, other.shape), other)])
    np.testing.assert_array_equal(other.numpy(), run.variable.numpy())
    np.testing.assert_array_equal(own_array(other), own_array(run.variable))


def test_a_wrapped_optimizer(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        var = Variable(np.ones((20, 3), np.float32), name="table")
        opt = optimizers.LossScaleOptimizer(optimizers.Adam(0.01, sparse="deferred"))
        found.append((var, opt))
    (var, opt), (other, its) = found
    random = np.random.default_rng(0)
    for step in range(80):
        if step == 40:
            slotwise.save(tmp_path / "state", optimizer=opt, variables=[var])
            slotwise.load(tmp_path / "state", optimizer=its, variables=[other])
        ids, rows = random.integers(0, 20, 3), random.normal(size=(3, 3)).astype(np.float32)
        for v, o in ((var, opt), (other, its))[: 1 + (step >= 40)]:
            o.apply_gradients([(IndexedSlices(rows, ids, (20, 3)), v)])
    np.testing.assert_array_equal(own_array(var), own_array(other))
    np.testing.assert_array_equal(var.numpy(), other.numpy())


# ----- what nobody is to read by accident ---------------------------------------------------------


def test_a_part_of_it_is_refused(tmp_path: Path) -> None:
    run, _ = ran(CASES[0], 30)
    path = tmp_path / "state"
    with pytest.raises(ValueError, match="rows are up to date"):
        slotwise.save(path, optimizer=run.optimizer)
    with pytest.raises(ValueError, match="rows are up to date"):
        slotwise.save(path, variables=[run.variable])
    save(path, run)
    before = run.raw()
    again = fresh(CASES[0], run)
    for part in (
        {"variables": [again.variable]},
        {"optimizer": again.optimizer},
        {"variables": [again.variable], "strict": False},
        {"optimizer": again.optimizer, "strict": False},
    ):
        with pytest.raises(ValueError, match="steps to make up for"):
            slotwise.load(path, **part)
    assert not own_array(again.variable).any()
    with pytest.raises(StateError, match="steps to make up for"):
        slotwise.load(path)
    with pytest.raises(StateError, match="steps to make up for"):
        slotwise.load(path, mmap=True)
    for name in ("table", "table/m"):
        with pytest.raises(StateError, match="steps to make up for"):
            slotwise.load_array(path, name)
    assert slotwise.load_array(path, "iterations") == 30
    assert slotwise.load_array(path, "table/deferred_steps").max() == 30
    assert all(np.array_equal(before[name], x) for name, x in run.raw().items())
    run.optimizer.flush()
    save(path, run)
    assert np.array_equal(slotwise.load_array(path, "table"), run.variable.numpy())


def test_another_rule_is_refused(tmp_path: Path) -> None:
    run, _ = ran(CASES[0], 30)
    save(tmp_path / "state", run)
    other = Variable(np.zeros_like(own_array(run.variable)), name="table")
    opt = optimizers.legacy.Adam(sparse="deferred", amsgrad=True)
    with pytest.raises(ValueError, match="missing: table/vhat"):
        slotwise.load(tmp_path / "state", optimizer=opt, variables=[other])
    opt = optimizers.Nadam(sparse="deferred")  # the same names, another rule
    with pytest.raises(ValueError, match="updated by the same rule"):
        slotwise.load(tmp_path / "state", optimizer=opt, variables=[other], strict=False)


@pytest.mark.parametrize("seed", range(20))
def test_forged_numbers(seed: int) -> None:
    """Whatever stands in a file, no memory beyond the tables is read."""
    random = np.random.default_rng(seed)
    case = CASES[random.integers(len(CASES))]
    run, _ = ran(case, 40)
    deferral = run.variable._deferred
    if deferral is None:
        return
    core = deferral.core
    steps, clock = core.last.copy(), core.clock
    raw, read = run.raw(), run.read()
    for _ in range(200):
        forged, numbers = steps.copy(), clock.copy()
        match random.integers(4):
            case 0:
                numbers[random.integers(min(40, len(numbers)))] = random.choice(
                    [np.nan, np.inf, -1, 0, 1, 2.5, 1e9, 1e300, 41]
                )
            case 1:
                numbers = numbers[: random.integers(len(numbers))]
            case 2:
                numbers = np.append(numbers, 1.0)
            case _:
                forged[random.integers(len(forged))] = random.choice([-1, 41, 2**31 - 1, -(2**31)])
        try:
            core.restore(forged, numbers)
        except ValueError:
            continue
        run.variable.numpy()  # any numbers, but no crash
        core.restore(steps, clock)
    for name, x in run.raw().items():
        np.testing.assert_array_equal(x, raw[name])
    for name, x in run.read().items():
        np.testing.assert_array_equal(x, read[name])


# ----- deltas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["legacy Adam", "AdamW, average, restarts", "Ftrl", "Nadam"])
def test_deltas_have_the_touched_rows(name: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    run, stream = ran(case, 100)
    touched = slotwise.track(run.variable)
    save(tmp_path / "0", run)
    deltas: list[Path] = []
    for number in range(1, 6):
        named = set()
        for _, (ids, grads) in zip(range(3), stream, strict=False):
            run.step(ids, grads)
            named.update(ids.tolist())
        if number == 3:
            run.optimizer.flush()
            named = set(range(300))
        assert set(touched.rows.tolist()) == named
        deltas.append(tmp_path / str(number))
        slotwise.save_delta(
            deltas[-1],
            since=tmp_path / str(number - 1),
            optimizer=run.optimizer,
            variables=[run.variable],
        )
        again = fresh(case, run)
        load(tmp_path / "0", again, deltas=deltas)
        assert_same(run, again)
    for _, (ids, grads) in zip(range(30), stream, strict=False):
        run.step(ids, grads)
        again.step(ids, grads)
    assert_same(run, again)


def test_a_step_that_writes_all_rows_counts_for_deltas() -> None:
    run, stream = ran(CASES[0], 30)
    touched = slotwise.track(run.variable)
    touched.set_aside()
    go_on(run, stream, 1)
    assert 0 < len(touched.rows) < 100
    changes: list[tuple[Callable[[], object], int]] = [
        (lambda: run.optimizer.flush(), 300),
        (lambda: run.variable.assign(run.variable.numpy()), 300),
        (lambda: setattr(run.optimizer, "beta_2", 0.99), 300),  # all rows catch up
        (lambda: run.variable.numpy(), 99),
    ]
    for change, most in changes:
        touched.set_aside()
        change()
        go_on(run, stream, 1)
        assert (len(touched.rows) == 300) == (most == 300)


# ----- copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_up_to_date(copied: Any) -> None:
    run, stream = ran(CASES[0], 60)
    raw = run.raw()
    var, opt = copied((run.variable, run.optimizer))
    np.testing.assert_array_equal(own_array(var), run.variable.numpy())
    assert all(np.array_equal(raw[name], x) for name, x in run.raw().items())
    for _, (ids, grads) in zip(range(20), stream, strict=False):
        run.step(ids, grads)
        opt.apply_gradients([(IndexedSlices(grads, ids, var.shape), var)])
    np.testing.assert_allclose(var.numpy(), run.variable.numpy(), rtol=0, atol=1e-6)


def test_state_dicts_are_up_to_date() -> None:
    run, stream = ran(CASES[0], 60)
    state, value = run.optimizer.state_dict(), run.variable.numpy()
    read = run.read()
    assert np.array_equal(state["table/m"], read["m"])
    assert "table/deferred_steps" not in state
    go_on(run, stream, 20)
    run.optimizer.load_state_dict(state)
    run.variable.assign(value)
    for name, x in run.read().items():
        np.testing.assert_array_equal(x, read[name])


# ----- kills --------------------------------------------------------------------------------------

_TRAINS = """
import os, sys, numpy as np, slotwise
from slotwise import IndexedSlices, Variable, optimizers

folder, kill_at = sys.argv[1], int(sys.argv[2])
var = Variable(np.full((400, 8), 0.01, np.float32), name="table")
opt = optimizers.AdamW(0.01, sparse="deferred", use_ema=True, ema_momentum=0.9)
opt.build([var])
manager = slotwise.CheckpointManager(folder, max_to_keep=2)
manager.restore_latest(optimizer=opt, variables=[var])
for step in range(int(opt.iterations), 60):
    random = np.random.default_rng(step)
    ids, rows = random.integers(0, 400, 12), random.normal(size=(12, 8)).astype(np.float32)
    opt.apply_gradients([(IndexedSlices(rows, ids, var.shape), var)])
    if step % 7 == 6:
        manager.save(step + 1, optimizer=opt, variables=[var])
    if step == kill_at:
        os.kill(os.getpid(), 9)
import hashlib
print(hashlib.blake2b(var.numpy().tobytes() + opt.state_dict()["table/m"].tobytes()).hexdigest())
"""


def test_kills_and_resumes(tmp_path: Path) -> None:
    def train(folder: Path, kill_at: int) -> tuple[int, str]:
        command = [sys.executable, "-c", _TRAINS, os.fspath(folder), str(kill_at)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout or done.stderr

    code, expected = train(tmp_path / "whole", -1)
    assert code == 0, expected
    for kill_at in (10, 25, 33, 52):
        assert train(tmp_path / "killed", kill_at)[0] == -signal.SIGKILL
    assert train(tmp_path / "killed", -1) == (0, expected)


# ----- several that share -------------------------------------------------------------------------


def stepped(optimizer: Any, variable: Variable, *ids: int, times: int = 1) -> None:
    grad = np.ones((len(ids), variable.shape[1]), np.float32)
    for _ in range(times):
        optimizer.apply_gradients([(IndexedSlices(grad, np.array(ids), variable.shape), variable)])


def behind() -> tuple[Variable, Any]:
    var = Variable(np.ones((6, 2), np.float32), name="table")
    opt = optimizers.Adam(0.1, sparse="deferred")
    stepped(opt, var, 1)
    stepped(opt, var, 2, times=3)
    return var, opt


def test_an_optimizer_that_has_met_them_does_not_save_them(tmp_path: Path) -> None:
    var, opt = behind()
    other = optimizers.SGD(0.1, momentum=0.9, sparse="lazy")
    other.build([var])
    with pytest.raises(ValueError, match="rows are up to date"):
        slotwise.save(tmp_path / "a", optimizer=other, variables=[var])
    slotwise.save(tmp_path / "a", optimizer={"a": opt, "b": other}, variables=[var])


def test_another_rule_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    var, opt = behind()
    slotwise.save(tmp_path / "a", optimizer=opt, variables=[var])
    again = Variable(np.full((6, 2), 7, np.float32), name="table")
    for made in (optimizers.Adam(0.1, use_ema=True), optimizers.Nadam(0.1, sparse="deferred")):
        with pytest.raises(ValueError, match="updated by the same rule"):
            slotwise.load(tmp_path / "a", optimizer=made, variables=[again], strict=False)
        assert (again.numpy() == 7).all()


def two_of_one_memory(name: str) -> tuple[Variable, Variable, optimizers.Adam]:
    """Variables of one array, of the given name the second, and what puts off steps of both."""
    array = np.ones((6, 2), np.float32)
    one, other = Variable(array, name="table"), Variable(array, name=name)
    opt = optimizers.Adam(0.1, sparse="deferred")
    stepped(opt, one, 1)
    stepped(opt, one, 2, times=3)
    stepped(opt, other, 2)
    return one, other, opt


def test_another_variable_of_the_memory_that_takes_a_step() -> None:
    one, other, _ = two_of_one_memory("table")
    np.testing.assert_array_equal(one.numpy(), other.numpy())
    other.assign(np.full((6, 2), 5.0))
    np.testing.assert_array_equal(one.numpy(), np.full((6, 2), 5.0))


def test_two_optimizers_that_take_turns() -> None:
    var = Variable(np.ones((6, 2), np.float32), name="table")
    one, other = (optimizers.Adam(0.1, sparse="deferred") for _ in range(2))
    stepped(one, var, 1)
    one.flush()
    stepped(other, var, 1)
    other.flush()
    stepped(one, var, 2, times=2)
    seen = var.numpy()
    one.flush()
    np.testing.assert_array_equal(var.numpy(), seen)


def test_dense_gradients_before_and_after() -> None:
    var, w = (Variable(np.ones((6, 2), np.float32), name=name) for name in ("table", "w"))
    opt, ones = optimizers.Adam(0.1, sparse="deferred"), np.ones((6, 2), np.float32)
    opt.build([var, w])
    opt.apply_gradients([(ones, var)])
    opt.apply_gradients([(IndexedSlices(ones[:1], np.array([1]), (6, 2)), var), (ones, w)])
    opt.apply_gradients([(ones, var)])
    assert int(opt.iterations) == 3


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Nadam", "Adamax"])
def test_a_root_that_fades_as_fast_is_refused(name: str) -> None:
    beta = 0.5 if name == "Adamax" else 0.25
    var = Variable(np.ones((6, 2), np.float32), name="table")
    opt = getattr(optimizers, name)(0.1, beta_1=0.5, beta_2=beta, sparse="deferred")
    with pytest.raises(ValueError, match="ever farther"):
        stepped(opt, var, 1)


@pytest.mark.parametrize("is_circle", [False, True])
def test_no_step_is_lost_with_the_optimizer(is_circle: bool) -> None:
    """An array goes on without the variable and the optimizer; circles end by collection."""

    def train(array: np.ndarray[Any, Any], sparse: str) -> None:
        var, opt = Variable(array, name="table"), optimizers.Adam(0.1, sparse=sparse)
        stepped(opt, var, 1)
        stepped(opt, var, 2, times=3)
        if is_circle:
            opt.myself = opt, var

    found = []
    for sparse in ("keras", "deferred"):
        array = np.ones((6, 2), np.float32)
        train(array, sparse)
        gc.collect()
        found.append(slotwise.gather(array, np.arange(6)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_rows_that_an_optimizer_left_are_saved_without_it(tmp_path: Path) -> None:
    var, opt = behind()
    seen, touched = var.numpy(), slotwise.track(var)
    touched.set_aside()
    del opt
    gc.collect()
    assert len(touched.rows) == 6
    slotwise.save(tmp_path / "a", variables=[var])
    np.testing.assert_array_equal(slotwise.load_array(tmp_path / "a", "table"), seen)
    stepped(optimizers.SGD(0.1, sparse="lazy"), var, 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_share_what_variables_share(copied: Any) -> None:
    one, other, opt = two_of_one_memory("again")
    a, b, _ = copied((one, other, opt))
    assert own_array(a) is own_array(b) and own_array(a) is not own_array(one)
    np.testing.assert_array_equal(a.value, one.numpy())


def test_slots_of_an_optimizer_beside_one_that_is_behind() -> None:
    var = Variable(np.ones((6, 2), np.float32), name="table")
    one, other = (optimizers.Adam(0.1, sparse="deferred") for _ in range(2))
    stepped(one, var, 1)
    one.flush()
    (entry,) = one._entries()
    slot = entry.slots["m"].numpy()
    stepped(other, var, 2, times=2)
    np.testing.assert_array_equal(entry.slots["m"].numpy(), slot)
    with pytest.raises(ValueError, match="rows are up to date"):
        stepped(one, var, 1)
    other.flush()
    stepped(one, var, 1)


def test_renaming_the_steps_is_refused(tmp_path: Path) -> None:
    var, opt = behind()
    slotwise.save(tmp_path / "a", optimizer=opt, variables=[var])
    again = Variable(np.full((6, 2), 7, np.float32), name="table")
    with pytest.raises(ValueError, match="steps to make up for"):
        slotwise.load(
            tmp_path / "a",
            optimizer=optimizers.Adam(0.1, sparse="deferred"),
            variables=[again],
            rename={"table/deferred_steps": "other"},
            strict=False,
        )
    assert (again.numpy() == 7).all()


@pytest.mark.parametrize("api", [optimizers, optimizers.legacy])
def test_a_wrapped_optimizer_flushes(api: Any) -> None:
    var = Variable(np.ones((6, 2), np.float32), name="table")
    opt = optimizers.LossScaleOptimizer(api.Adam(0.1, sparse="deferred"))
    stepped(opt, var, 1, times=2)
    seen = var.numpy()
    opt.flush()
    np.testing.assert_array_equal(own_array(var), seen)
