# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is of one moment: beside threads that train, assign, save and fork."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import CheckpointManager, IndexedSlices, Variable, _lock, optimizers
from slotwise._identity import memory_of
from slotwise._overlap import Spans
from slotwise.optimizers import legacy
from slotwise.state import StateError, _writer
from support.at_once import in_threads

APIS = pytest.mark.parametrize("api", [optimizers, legacy])
NAMES = pytest.mark.parametrize("name", ["x", "x.safetensors"])
SIZE = 400_000
GRAD = np.ones(SIZE, np.float32)


@contextmanager
def running(*functions: Any) -> Iterator[Any]:
    """Each again and again, in a thread of its own."""
    is_over, errors = threading.Event(), []

    def loop(function: Any) -> None:
        try:
            while not is_over.is_set():
                function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=loop, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.01)
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert not errors, errors


class Job:
    """Momentum 1 and a rate of 1: after n steps, the slots are -n and the variables their sums."""

    def __init__(self, api: Any, wrapped: Any = False) -> None:
        self.slot = "momentum" if api is legacy else "m"
        self.own = [Variable(np.zeros(SIZE, np.float32), name=name) for name in "ab"]
        self.opt = api.SGD(1.0, momentum=1.0)
        self.inner = self.opt
        if wrapped:
            self.opt = optimizers.LossScaleOptimizer(self.opt, initial_scale=2.0)
            self.opt.get_scaled_loss(1.0), self.opt.get_unscaled_gradients([])
        self.step()

    def step(self) -> None:
        self.opt.apply_gradients([(GRAD, v) for v in self.own])

    def check(self, arrays: Any) -> Any:
        count = int(arrays["iterations"])
        for name in "ab":
            assert (arrays[f"{name}/{self.slot}"] == -count).all()
            if name in arrays:
                assert (arrays[name] == -count * (count + 1) / 2).all()
        return count


@APIS
@NAMES
@pytest.mark.parametrize("how", ["optimizer", "wrapped", "several", "variables", "manager"])
def test_a_save_beside_steps(tmp_path: Path, api: Any, name: Any, how: Any) -> None:
    job = Job(api, how == "wrapped")
    counts = set()
    with running(job.step):
        for _ in range(4):
            path = tmp_path / name
            given = {"optimizer": job.opt, "variables": job.own}
            if how == "several":
                given["optimizer"] = {"one": job.opt}
            if how == "variables":  # that the optimizer steps meanwhile is known all the same
                state = job.opt.state_dict()
                del state["config"]
                given = {"variables": {**{v.name: v for v in job.own}, **state}}
            if how == "manager":
                path = CheckpointManager(tmp_path / "m", max_to_keep=1).save(1, **given)
            else:
                slotwise.save(path, **given)
            arrays = slotwise.load(path).arrays
            counts.add(job.check({n.removeprefix("one/"): x for n, x in arrays.items()}))
    assert len(counts) > 1  # neither waits for ever


@APIS
@pytest.mark.parametrize("wrapped", [False, True])
def test_copies_of_state_beside_steps(api: Any, wrapped: Any) -> None:
    job = Job(api, wrapped)
    with running(job.step):
        for _ in range(10):
            job.check(job.opt.state_dict(copy=True))
    own, copies = job.opt.state_dict(), job.opt.state_dict(copy=True)
    assert own.keys() == copies.keys()
    for key in own.keys() - {"config"}:
        assert not np.shares_memory(own[key], copies[key])
    assert own[f"a/{job.slot}"] is job.opt.state_dict()[f"a/{job.slot}"]


@APIS
@pytest.mark.parametrize("how", ["load", "dict", "weights"])
def test_a_load_beside_steps(tmp_path: Path, api: Any, how: Any) -> None:
    """All that is read is of one moment, and steps go on from it."""
    job = Job(api)
    for _ in range(3):
        job.step()
    slotwise.save(tmp_path / "x", optimizer=job.opt, variables=job.own)
    state = job.opt.state_dict(copy=True)
    weights = [v.numpy() for v in job.opt.variables()]
    with running(job.step):
        for _ in range(3):
            if how == "load":
                slotwise.load(tmp_path / "x", optimizer=job.opt, variables=job.own)
            elif how == "dict":
                job.opt.load_state_dict(state)
            else:
                job.opt.set_weights(weights)
            found = job.opt.state_dict(copy=True)
            job.check({k: x for k, x in found.items() if k not in "ab"})


@APIS
def test_deltas_lose_no_row_that_was_touched_meanwhile(tmp_path: Path, api: Any) -> None:
    emb = Variable(np.zeros((50_000, 4), np.float32), name="emb")
    opt, rng = api.Adagrad(0.1), np.random.default_rng(0)
    slotwise.track(emb)

    def step() -> None:
        ids = rng.integers(0, len(emb), 100)
        grad = IndexedSlices(np.ones((100, 4), np.float32), ids, emb.shape)
        opt.apply_gradients([(grad, emb)])

    step()
    given = {"optimizer": opt, "variables": [emb]}
    paths = [tmp_path / "base"]
    with running(step):
        slotwise.save(paths[0], **given)
        for number in range(5):
            paths.append(tmp_path / f"delta-{number}")
            slotwise.save_delta(paths[-1], since=paths[-2], **given)
    paths.append(tmp_path / "last")
    slotwise.save_delta(paths[-1], since=paths[-2], **given)
    with slotwise.state.Reader(paths[-1]) as reader:
        assert reader.tensor("emb").shape[0] < len(emb)
    arrays = slotwise.load(paths[0], deltas=paths[1:]).arrays
    np.testing.assert_array_equal(arrays["emb"], emb)
    np.testing.assert_array_equal(arrays["emb/accumulator"], opt.state_dict()["emb/accumulator"])


# ----- what no lock excludes ---------------------------------------------------------------------


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has a function called after all was written, and before it is compared."""

    def put(function: Any) -> None:
        compare, left = _writer._File.compare, [function]

        def comparing(self: Any, chunks: Any) -> Any:
            while left:
                left.pop()()
            return compare(self, chunks)

        monkeypatch.setattr(_writer._File, "compare", comparing)

    return put


@NAMES
@pytest.mark.parametrize("kind", ["whole", "strided", "map", "count", "slot"])
def test_what_changes_otherwise_is_an_error(
    tmp_path: Path, name: Any, kind: Any, between: Any
) -> None:
    w = Variable(np.zeros((3000, 10), np.float32), name="w")
    if kind == "strided":
        w = Variable(np.zeros((10, 3000), np.float32).T, name="w")
    if kind == "map":
        w = Variable(slotwise.open_table(tmp_path / "map", (3000, 10), mode="w+"), name="w")
    opt = optimizers.legacy.Adam(0.1) if kind != "strided" else None
    if opt is not None:
        opt.apply_gradients([(np.ones(w.shape, np.float32), w)])
    given = {"optimizer": opt, "variables": [w, Variable(np.ones(3), name="other")]}
    path = tmp_path / name
    slotwise.save(path, **given, extra="old")
    what = {"count": "iterations", "slot": "w/v"}.get(kind, "w")
    array = w.value if what == "w" else opt.state_dict()[what]
    before = np.array(array)
    change = array.reshape(-1)[-1:] if kind != "strided" else array[-1, -1:]
    between(lambda: change.__setitem__(0, 7))
    with pytest.raises(StateError, match=f"^save: '{what}' was changed while it was saved"):
        slotwise.save(path, **given)
    assert slotwise.load(path).extra == "old"
    np.testing.assert_array_equal(slotwise.load(path).arrays[what], before)
    assert sorted(os.listdir(tmp_path)) == sorted({name, *(["map"] if kind == "map" else [])})


def test_assignments_of_another_thread(tmp_path: Path) -> None:
    """Saved is what was there at one moment, or there is an error."""
    own = [Variable(np.zeros(SIZE), name=name) for name in "ab"]
    numbers = iter(range(1, 10**9))

    def assign() -> None:
        value = np.full(SIZE, next(numbers), np.float64)
        own[0].assign(value)
        own[1].assign(value)

    saved = 0
    with running(assign):
        for _ in range(20):
            try:
                slotwise.save(tmp_path / "x", variables=own)
            except StateError:
                continue
            saved += 1
    if saved:
        arrays = slotwise.load(tmp_path / "x").arrays
        for x in arrays.values():
            assert len(np.unique(x)) <= 2  # in the middle of an assignment


@pytest.mark.parametrize("delta", [False, True])
def test_rows_that_are_marked_meanwhile_count_later(
    tmp_path: Path, delta: Any, between: Any
) -> None:
    emb = Variable(np.zeros((100, 2)), name="emb")
    touched = slotwise.track(emb)
    slotwise.save(tmp_path / "base", variables=[emb])
    emb.value[5] = 1
    touched.mark([5])

    def change() -> None:
        emb.value[7] = 2
        touched.mark([7])

    between(change)
    if delta:  # of another row, the writer sees nothing
        with pytest.raises(StateError, match="'emb' was changed"):
            slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", variables=[emb])
    else:
        with pytest.raises(StateError, match="'emb' was changed"):
            slotwise.save(tmp_path / "other", variables=[emb])
    assert touched.rows.tolist() == [5, 7]
    slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", variables=[emb])
    assert slotwise.load_array(tmp_path / "delta", "emb@rows").tolist() == [5, 7]
    assert touched.rows.tolist() == []


def test_rows_of_a_save_that_fails_stay_touched(tmp_path: Path) -> None:
    emb = Variable(np.zeros((100, 2)), name="emb")
    touched = slotwise.track(emb)
    base = slotwise.save(tmp_path / "base", variables=[emb])
    touched.mark([3])
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        slotwise.save(tmp_path / "file" / "x", variables=[emb])
    with pytest.raises(FileExistsError):
        slotwise.save_delta(tmp_path / "file", since=base, variables=[emb])
    assert touched.rows.tolist() == [3] and touched.since == base


def test_a_load_that_fails_in_the_middle_touches_all_rows(tmp_path: Path) -> None:
    own = [Variable(np.zeros((1000, 2)), name=name) for name in ("emb", "w")]
    slotwise.save(tmp_path / "x.safetensors", variables=own)
    touched = slotwise.track(own[0])
    base = slotwise.save(tmp_path / "base", variables=own)
    data = bytearray((tmp_path / "x.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(StateError, match="overwritten in part"):
        slotwise.load(tmp_path / "x.safetensors", variables=own, verify="during")
    assert touched.rows.size == 1000 and touched.since == base


def test_views_of_what_is_tracked(tmp_path: Path) -> None:
    emb = np.zeros((100, 2), np.float32)
    touched = slotwise.track(emb)
    slotwise.save(tmp_path / "base", variables={"emb": emb})
    opt = optimizers.Adagrad(0.1)
    for row in (3, 8):
        grad = IndexedSlices(np.ones((1, 2), np.float32), np.array([row]), emb.shape)
        opt.apply_gradients([(grad, emb[:])])  # a view made anew
    assert touched.rows.tolist() == [3, 8]
    assert slotwise.track(emb[:]) is touched
    Variable(emb[10:20]).assign(np.ones((10, 2)))  # of a part: all rows count
    assert touched.rows.size == 100
    slotwise.untrack(emb[:])
    assert slotwise._tracking.find(emb) is None


# ----- several at once ---------------------------------------------------------------------------


@APIS
def test_several_savers_and_steps(tmp_path: Path, api: Any) -> None:
    jobs = [Job(api), Job(api)]
    both = {"a": jobs[0].opt, "b": jobs[1].opt}
    names = {f"{i}{v.name}": v for i, job in enumerate(jobs) for v in job.own}

    def save(number: Any) -> None:
        path = tmp_path / f"{number}"
        slotwise.save(path, optimizer=both, variables=names)
        arrays = slotwise.load(path).arrays
        for i, name in enumerate("ab"):
            own = {n[1:]: x for n, x in arrays.items() if n[0] == str(i)}
            state = {n[2:]: x for n, x in arrays.items() if n.startswith(f"{name}/")}
            jobs[i].check({**own, **{n.removeprefix(str(i)): x for n, x in state.items()}})

    with running(*(job.step for job in jobs)):
        threads = [threading.Thread(target=save, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len([p for p in tmp_path.iterdir() if not p.name.startswith(".")]) == 4


def test_a_step_within_a_step_beside_saves(tmp_path: Path) -> None:
    """In either order, nobody waits for ever."""
    a, b = Job(legacy), Job(legacy)

    class Nested(legacy.SGD):
        other: Any = None

        def _transform_gradients(self, grads_and_vars: Any) -> Any:
            self.other.step()
            return super()._transform_gradients(grads_and_vars)

    outer = []
    for other in (a, b):
        v, opt = Variable(np.zeros(3, np.float32), name="v"), Nested(1.0)
        opt.other = other
        outer.append((opt, v))
    one = np.ones(3, np.float32)
    first, second = outer
    given = {"x": a.opt, "y": first[0], "z": b.opt, "w": second[0]}
    values = {str(i): v for i, v in enumerate([*a.own, *b.own, first[1], second[1]])}
    with running(
        *(lambda opt=opt, v=v: opt.apply_gradients([(one, v)]) for opt, v in outer), a.step, b.step
    ):
        done = threading.Thread(
            target=lambda: [
                slotwise.save(tmp_path / "x", optimizer=given, variables=values) for _ in range(5)
            ]
        )
        done.start()
        done.join(60)
        assert not done.is_alive()


def test_a_save_within_a_step(tmp_path: Path) -> None:
    """A hook may save, say: it holds what it needs."""

    class Saving(legacy.SGD):
        def _transform_gradients(self, grads_and_vars: Any) -> Any:
            slotwise.save(tmp_path / "x", optimizer=self, variables=[v for _, v in grads_and_vars])
            return super()._transform_gradients(grads_and_vars)

    v, opt = Variable(np.zeros(3), name="v"), Saving(1.0)
    with running(lambda: opt.apply_gradients([(np.ones(3), v)])):
        for _ in range(5):
            slotwise.save(tmp_path / "y", optimizer=opt, variables=[v])
    assert (
        slotwise.load(tmp_path / "y").arrays["v"][0]
        == -slotwise.load(tmp_path / "y").arrays["iterations"]
    )


@APIS
def test_forks_beside_steps_and_saves(tmp_path: Path, api: Any) -> None:
    job = Job(api)

    def save() -> None:
        slotwise.save(tmp_path / "x", optimizer=job.opt, variables=job.own)

    with running(job.step, save):
        for number in range(10):
            child = os.fork()
            if child == 0:  # whoever held a lock does not run here
                try:
                    job.step()
                    path = tmp_path / f"{number}.safetensors"
                    slotwise.save(path, optimizer=job.opt, variables=job.own)
                    os._exit(0)
                finally:
                    os._exit(1)
            began = time.monotonic()
            while True:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    break
                assert time.monotonic() - began < 30
                time.sleep(0.01)
            assert status == 0


def test_optimizers_are_not_kept_alive() -> None:
    job = Job(optimizers)
    job.step()
    found = [weakref.ref(job.opt), weakref.ref(job.opt._lock)]
    count = len(_lock._optimizers)
    del job
    gc.collect()
    assert [ref() for ref in found] == [None, None]
    assert len(_lock._optimizers) < count


def test_steps_of_others_do_not_wait() -> None:
    """Only those of what is saved."""
    job, other = Job(optimizers), Job(optimizers)
    locks = _lock.of_users(Spans(memory_of(v.value) for v in job.own))
    assert locks == [job.opt._lock]
    with _lock.held(locks):
        thread = threading.Thread(target=other.step)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()


@NAMES
def test_many_savers_of_one_path(tmp_path: Path, name: Any) -> None:
    """Each leaves a whole one."""
    path, errors = tmp_path / name, []

    def work(number: Any) -> None:
        try:
            for _ in range(10):
                slotwise.save(path, variables={"x": np.full(1000, number)}, extra=number)
                found = slotwise.load(path)
                assert (found.arrays["x"] == found.extra).all()
        except BaseException as error:
            errors.append(error)

    in_threads(work, 6)
    assert not errors, errors
    assert os.listdir(tmp_path) == [name]


@APIS
def test_numbers_that_are_assigned_beside_saves(tmp_path: Path, api: Any) -> None:
    """As a schedule by hand does, before each step."""
    job, numbers = Job(api), iter(range(1, 10**9))

    def assign() -> None:
        job.opt.learning_rate = 1 / next(numbers)
        job.opt.iterations = next(numbers)
        time.sleep(0.001)

    with running(assign):
        for _ in range(10):
            slotwise.save(tmp_path / "x", optimizer=job.opt, variables=job.own)
