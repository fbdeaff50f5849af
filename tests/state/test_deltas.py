# SPDX-License-Identifier: Apache-2.0
"""Deltas: only touched rows are written, in order, on the right base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, RowPlan, Variable, optimizers
from slotwise.optimizers import legacy
from slotwise.state import StateError

ROWS, WIDTH = 1000, 5


class Job:
    """A table and a bias, and what trains them."""

    def __init__(self, make: Any = legacy.Adagrad, **kwargs: Any) -> None:
        self.emb = Variable(np.ones((ROWS, WIDTH), np.float32), name="emb")
        self.bias = Variable(np.ones(7, np.float32), name="bias")
        self.opt = make(**kwargs)
        self.touched = slotwise.track(self.emb)
        self.rng = np.random.default_rng(0)

    @property
    def given(self) -> Any:
        return {"optimizer": self.opt, "variables": [self.emb, self.bias]}

    def step(self, ids: Any = None) -> None:
        ids = self.rng.integers(0, ROWS, 20) if ids is None else ids
        count = ids.unique.size if isinstance(ids, RowPlan) else len(ids)
        grad = self.rng.standard_normal((count, WIDTH)).astype(np.float32)
        dense = self.rng.standard_normal(7).astype(np.float32)
        self.opt.apply_gradients(
            [(IndexedSlices(grad, ids, self.emb.shape), self.emb), (dense, self.bias)]
        )

    def state(self) -> Any:
        arrays = {"emb": self.emb.value, "bias": self.bias.value, **self.opt.state_dict()}
        del arrays["config"]
        return {name: np.array(x) for name, x in arrays.items()}


def check_same(arrays: Any, state: Any) -> None:
    assert arrays.keys() == state.keys()
    for name, x in state.items():
        np.testing.assert_array_equal(arrays[name], x, name)


def chain(tmp_path: Path, job: Any, count: Any = 3) -> Any:
    """A base and deltas, each a step later; with the states."""
    job.step()
    paths, states = [tmp_path / "base"], [job.state()]
    slotwise.save(paths[0], **job.given)
    for number in range(count):
        job.step()
        job.step()
        path = tmp_path / f"delta-{number}.safetensors"
        slotwise.save_delta(path, since=paths[-1], **job.given, extra=number)
        paths.append(path)
        states.append(job.state())
    return paths, states


@pytest.mark.parametrize(
    "job",
    [
        lambda: Job(),
        lambda: Job(legacy.SGD, momentum=0.9),
        lambda: Job(legacy.Adam, sparse="lazy", amsgrad=True),
        lambda: Job(legacy.Nadam, sparse="lazy"),
        lambda: Job(legacy.Adam),  # decays the whole table
        lambda: Job(legacy.RMSprop),  # decays whole slots
        lambda: Job(legacy.Ftrl, clipnorm=1.0),
        lambda: Job(optimizers.Adam, sparse="lazy", weight_decay=0.1, use_ema=True),
        lambda: Job(optimizers.Adam, sparse="lazy", sparse_decay="whole", use_ema=True),
        lambda: Job(optimizers.Nadam, sparse="lazy"),
        lambda: Job(optimizers.Adagrad),
        lambda: Job(optimizers.SGD, momentum=0.9),  # decays the whole table
        lambda: Job(optimizers.Adafactor),  # has slots of other shapes
        lambda: Job(optimizers.Ftrl, use_ema=True, ema_overwrite_frequency=3),
    ],
)
def test_base_and_deltas_give_the_state(tmp_path: Path, job: Any) -> None:
    paths, states = chain(tmp_path, job())
    for last, state in enumerate(states):
        found = slotwise.load(paths[0], deltas=paths[1 : last + 1])
        check_same(found.arrays, state)
        assert found.extra == (last - 1 if last else None)


def test_one_tensor_of_base_and_deltas(tmp_path: Path) -> None:
    paths, states = chain(tmp_path, Job(optimizers.Adam, sparse="lazy"))
    for name in ("emb", "emb/m", "bias", "iterations"):
        found = slotwise.load_array(paths[0], name, deltas=paths[1:])
        np.testing.assert_array_equal(found, states[-1][name])
    some = slice(ROWS // 3, -5)
    found = slotwise.load_array(paths[0], "emb/v", some, deltas=paths[1:3])
    np.testing.assert_array_equal(found, states[2]["emb/v"][some])
    with pytest.raises(KeyError, match="no tensor 'emb@rows'"):
        slotwise.load_array(paths[0], "emb@rows", deltas=paths[1:])
    with pytest.raises(StateError, match="expected a delta since"):
        slotwise.load_array(paths[0], "emb", deltas=paths[2:])
    with pytest.raises(ValueError, match="mmap: expected False with deltas"):
        slotwise.load_array(paths[0], "emb", mmap=True, deltas=paths[1:])


def test_only_touched_rows_are_written(tmp_path: Path) -> None:
    job = Job()
    paths, _ = chain(tmp_path, job, 1)
    whole = sum(file.stat().st_size for file in paths[0].iterdir())
    assert paths[1].stat().st_size < whole / 3
    with slotwise.state.Reader(paths[1]) as reader:
        rows = reader.read("emb@rows")
        assert 20 < rows.size <= 40
        for name in ("emb", "emb/accumulator"):
            assert reader.tensor(name).shape == (rows.size, WIDTH)
        assert reader.tensor("bias").shape == (7,)


def test_going_on_in_a_new_process_of_a_kind(tmp_path: Path) -> None:
    job = Job()
    paths, _ = chain(tmp_path, job)
    other = Job()
    slotwise.load(paths[0], deltas=paths[1:], **other.given)
    assert other.touched.rows.size == 0
    other.rng = job.rng
    other.step()
    slotwise.save_delta(tmp_path / "more", since=paths[-1], **other.given)
    found = slotwise.load(paths[0], deltas=[*paths[1:], tmp_path / "more"])
    check_same(found.arrays, other.state())


def test_bad_order_and_missing_base(tmp_path: Path) -> None:
    paths, _ = chain(tmp_path, Job())
    into = {"emb": np.zeros((ROWS, WIDTH), np.float32), "bias": np.zeros(7, np.float32)}
    for base, deltas, match in (
        (0, [2], "expected a delta since"),
        (0, [1, 3], "expected a delta since"),
        (0, [2, 1], "expected a delta since"),
        (0, [1, 1], "expected a delta since"),
        (0, [0], "expected a delta since .* is one since None"),
        (1, [2], "it is a delta since checkpoint .*, not a base"),
    ):
        with pytest.raises(StateError, match=match):
            slotwise.load(paths[base], deltas=[paths[d] for d in deltas], variables=into)
    assert not into["emb"].any()
    slotwise.save(tmp_path / "other", variables=into)
    with pytest.raises(StateError, match="expected a delta since"):
        slotwise.load(tmp_path / "other", deltas=[paths[1]])
    with pytest.raises(StateError, match="no checkpoint"):
        slotwise.load(tmp_path / "nowhere", deltas=[paths[1]])


def test_since_another_checkpoint(tmp_path: Path) -> None:
    job = Job()
    paths, _ = chain(tmp_path, job, 1)
    job.step()
    with pytest.raises(ValueError, match="'emb' is tracked since checkpoint"):
        slotwise.save_delta(tmp_path / "x", since=paths[0], **job.given)
    assert job.touched.rows.size
    slotwise.save_delta(tmp_path / "x", since=job.touched.since, **job.given)


def test_what_was_tracked_too_late_is_written_whole(tmp_path: Path) -> None:
    job = Job()
    slotwise.untrack(job.emb)
    slotwise.save(tmp_path / "base", **job.given)
    job.step()
    slotwise.track(job.emb)
    job.step()
    slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", **job.given)
    found = slotwise.load(tmp_path / "base", deltas=[tmp_path / "delta"])
    check_same(found.arrays, job.state())


def test_slots_that_the_base_lacks_are_written_whole(tmp_path: Path) -> None:
    job = Job()
    slotwise.save(tmp_path / "base", **job.given)
    job.step()
    slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", **job.given)
    assert slotwise.load_array(tmp_path / "delta", "emb/accumulator").shape == (ROWS, WIDTH)
    found = slotwise.load(tmp_path / "base", deltas=[tmp_path / "delta"])
    check_same(found.arrays, job.state())


def test_damaged_deltas_write_nothing(tmp_path: Path) -> None:
    paths, _ = chain(tmp_path, Job())
    data = bytearray(paths[-1].read_bytes())
    data[-1] ^= 1
    paths[-1].write_bytes(data)
    job = Job()
    before = job.emb.numpy()
    with pytest.raises(StateError, match="is damaged"):
        slotwise.load(paths[0], deltas=paths[1:], **job.given)
    np.testing.assert_array_equal(job.emb.value, before)


def test_which_rows_count_as_touched() -> None:
    job = Job()
    job.step(np.array([7, 3, 7]))
    assert job.touched.rows.tolist() == [3, 7]
    job.step(np.array([9], np.int32))
    job.touched.mark([11])
    assert job.touched.rows.tolist() == [3, 7, 9, 11]
    with pytest.raises(ValueError, match="not in"):
        job.step(np.array([ROWS]))
    job.emb.assign_add(np.ones((ROWS, WIDTH), np.float32))
    assert job.touched.rows.size == ROWS
    assert slotwise.track(job.emb) is job.touched


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job.emb.assign(np.zeros((ROWS, WIDTH))),
        lambda job: job.emb.__iadd__(np.float32(1)),
        lambda job: job.opt.get_slot(job.emb, "accumulator").assign_add(np.ones((ROWS, WIDTH))),
        lambda job: job.opt.set_weights(job.opt.get_weights()),
        lambda job: job.opt.load_state_dict(job.opt.state_dict()),
    ],
)
def test_other_changes_touch_all_rows(tmp_path: Path, change: Any) -> None:
    job = Job()
    chain(tmp_path, job, 1)
    assert job.touched.rows.size == 0
    change(job)
    assert job.touched.rows.size == ROWS


@pytest.mark.parametrize(
    ("make", "kwargs", "all_rows"),
    [
        (legacy.Adagrad, {}, False),
        (legacy.Adam, {}, True),
        (legacy.RMSprop, {}, True),
        (legacy.Adam, {"sparse": "lazy"}, False),
    ],
)
def test_sweeps_touch_all_rows(make: Any, kwargs: Any, all_rows: Any) -> None:
    job = Job(make, **kwargs)
    job.step(np.array([1, 2]))
    assert job.touched.rows.size == (ROWS if all_rows else 2)


def test_dense_gradients_touch_all_rows() -> None:
    job = Job()
    job.opt.apply_gradients([(np.ones((ROWS, WIDTH), np.float32), job.emb)])
    assert job.touched.rows.size == ROWS


def test_tracking_is_of_arrays_and_ends_with_them() -> None:
    from slotwise import _tracking

    array = np.ones((3, 2))
    touched = slotwise.track(array)
    legacy.SGD().apply_gradients([(IndexedSlices(np.ones((1, 2)), np.array([1])), Variable(array))])
    assert touched.rows.tolist() == [1]
    count = len(_tracking._tracked)
    slotwise.untrack(array)
    assert len(_tracking._tracked) == count - 1
    with pytest.raises(ValueError, match="rank 1 or more"):
        slotwise.track(np.ones(()))


@pytest.mark.parametrize("width", [1, 3, 1000])
def test_rows_across_chunks(tmp_path: Path, width: Any) -> None:
    from slotwise.state._checksums import CHUNK

    rows = CHUNK // (4 * width) * 2
    table = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    slotwise.track(table).mark()
    base = slotwise.save(tmp_path / "base", variables={"t": table})
    slotwise.track(table).mark(np.arange(0, rows, 1)[3:])
    table += 1
    slotwise.save_delta(tmp_path / "delta", since=base, variables={"t": table})
    into = np.zeros_like(table)
    slotwise.load(tmp_path / "base", deltas=[tmp_path / "delta"], variables={"t": into})
    np.testing.assert_array_equal(into[3:], table[3:])
    np.testing.assert_array_equal(into[:3], table[:3] - 1)


def test_rows_that_a_table_does_not_have_are_not_touched() -> None:
    """As in a step with bounds="skip"; none counts from the end."""
    table = Variable(np.ones((5, 2)), name="table")
    touched = slotwise.track(table)
    touched.mark(np.array([-1, -5, 3, 5, 2**62]))
    np.testing.assert_array_equal(touched.rows, [3])
