# SPDX-License-Identifier: Apache-2.0
"""Training on ranks goes on from a checkpoint on any other number of them, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import distributed, optimizers
from slotwise.state import digests

ROWS = 3000
Kind = tuple[str, str]  # an optimizer; what `sparse` is
APIS = pytest.mark.parametrize("api", [optimizers, optimizers.legacy], ids=["current", "legacy"])


class Job:
    """A table, a variable that has a name, and arrays that are called something in a dict.

    Of one of them, one rank has all elements, and the others none.
    """

    def __init__(
        self, comm: Any, api: Any, is_fresh: bool = False, kind: Kind = ("Adam", "lazy")
    ) -> None:
        start = 0.0 if is_fresh else slotwise.initializers.Uniform(-1, 1, seed=1)
        self.comm = comm
        self.emb = slotwise.ShardedTable((ROWS, 4), name="emb", comm=comm, initializer=start)
        self.w = slotwise.Variable(np.full((5, 7), start == 0, np.float32), name="w")
        self.b, self.one = np.zeros(6, np.float32), np.zeros(1, np.float32)
        self.optimizer = getattr(api, kind[0])(0.1, sparse=kind[1], comm=comm)

    @property
    def state(self) -> dict[str, Any]:
        variables = {"emb": self.emb, "weights": self.w, "b": self.b, "one": self.one}
        return {"optimizer": self.optimizer, "variables": variables}

    def step(self, number: int) -> None:
        ids = np.random.default_rng(number).integers(0, ROWS, 60)
        found = self.emb.lookup(np.array_split(ids, self.comm.size)[self.comm.rank])
        rows = found.gradient(found.rows * np.float32(0.1) + np.float32(number))
        dense = np.float32(self.comm.rank == 0)
        self.optimizer.apply_gradients(
            [
                (rows, self.emb),
                (np.full_like(self.w.value, dense), self.w),
                (np.full_like(self.b, dense), self.b),
                (np.full_like(self.one, dense), self.one),
            ]
        )


def train(comm: Any, api: Any, folder: Path, kind: Kind) -> None:
    job = Job(comm, api, kind=kind)
    for number in range(3):
        job.step(number)
    slotwise.save(folder / "saved", **job.state)
    for number in range(3, 6):
        job.step(number)
    slotwise.save(folder / "then", **job.state)


def go_on(comm: Any, api: Any, folder: Path, kind: Kind, is_fresh: bool) -> None:
    job = Job(comm, api, is_fresh=True, kind=kind)
    if not is_fresh:
        job.step(9)
    assert not slotwise.load(folder / "saved", **job.state).report
    again = folder / f"again-{comm.size}"
    slotwise.save(again, **job.state)
    assert digests(again) == digests(folder / "saved")
    for number in range(3, 6):
        job.step(number)
    slotwise.save(again, **job.state)
    assert digests(again) == digests(folder / "then")


@APIS
@pytest.mark.parametrize("kind", [("Adam", "lazy"), ("Adagrad", "lazy"), ("Adam", "deferred")])
def test_any_number_of_ranks(tmp_path: Path, api: Any, kind: Kind) -> None:
    for savers in (1, 3):
        folder = tmp_path / str(savers)
        folder.mkdir()
        distributed.in_threads(savers, train, api, folder, kind)
        for loaders, is_fresh in ((1, True), (2, False), (5, True)):
            distributed.in_threads(loaders, go_on, api, folder, kind, is_fresh)
    for name in ("saved", "then"):
        assert digests(tmp_path / "1" / name) == digests(tmp_path / "3" / name)


def test_ranks_without_rows(tmp_path: Path) -> None:
    """They count steps, too: the others' clock is theirs."""

    def work(comm: Any, begin: int, end: int) -> str:
        table = slotwise.ShardedTable((3, 2), name="emb", comm=comm, initializer=0.5)
        opt = optimizers.Adam(0.1, sparse="deferred", comm=comm)
        if begin:
            slotwise.load(tmp_path / "ckpt", optimizer=opt, variables=[table])
        for number in range(begin, end):
            found = table.lookup(np.array([number % 2] if comm.rank == 0 else [], np.int64))
            opt.apply_gradients([(found.gradient(found.rows), table)])
        if not begin:
            slotwise.save(tmp_path / "ckpt", optimizer=opt, variables=[table])
        return table.digest()

    expected = {*distributed.in_threads(7, work, 0, 30), *distributed.in_threads(1, work, 0, 30)}
    assert len(expected) == 1
    distributed.in_threads(7, work, 0, 20)
    for ranks in (1, 4):
        assert {*distributed.in_threads(ranks, work, 20, 30)} == expected


@APIS
def test_an_optimizer_of_one_process(tmp_path: Path, api: Any) -> None:
    """It takes over from ranks, and they from it."""
    distributed.in_threads(2, train, api, tmp_path, ("Adam", "lazy"))
    emb, w = np.zeros((ROWS, 4), np.float32), np.zeros((5, 7), np.float32)
    variables: dict[str, Any] = {"emb": emb, "weights": w}
    variables |= {"b": np.zeros(6, np.float32), "one": np.zeros(1, np.float32)}
    plain = api.Adam(0.1, sparse="lazy")
    assert not slotwise.load(tmp_path / "saved", optimizer=plain, variables=variables).report
    slotwise.save(tmp_path / "plain", optimizer=plain, variables=variables)

    def check(comm: Any) -> None:
        job = Job(comm, api, is_fresh=True)
        assert not slotwise.load(tmp_path / "plain", **job.state).report
        np.testing.assert_array_equal(job.emb.to_array(), emb)
        for number in range(3, 6):
            job.step(number)
        slotwise.save(tmp_path / "again", **job.state)

    distributed.in_threads(3, check)
    assert digests(tmp_path / "again") == digests(tmp_path / "then")


@APIS
def test_variables_without_state_begin_anew(tmp_path: Path, api: Any) -> None:
    def save(comm: Any) -> None:
        job = Job(comm, api)
        found = job.emb.lookup(np.arange(5))
        job.optimizer.apply_gradients([(found.gradient(found.rows), job.emb)])
        slotwise.save(tmp_path / "ckpt", **job.state)

    def load(comm: Any) -> list[str]:
        job = Job(comm, api, is_fresh=True)
        state = slotwise.load(tmp_path / "ckpt", **job.state)
        job.step(1)
        assert int(job.optimizer.iterations) == 2
        return sorted(state.report.fresh)

    distributed.in_threads(2, save)
    assert distributed.in_threads(3, load) == [["b", "one", "weights"]] * 3


def test_ranks_that_have_wholes_alone(tmp_path: Path) -> None:
    """What each rank updates as a whole is saved once, by rank 0, as one process does it."""

    def work(comm: Any) -> None:
        w = slotwise.Variable(np.ones(5), name="w")
        opt = optimizers.Adam(0.1, clipnorm=1.0, comm=comm)
        opt.apply_gradients([(np.ones(5), w)])
        slotwise.save(path, optimizer=opt, variables=[w])
        before = w.numpy().copy()
        w.assign(np.zeros(5))
        slotwise.load(path, optimizer=opt, variables=[w])
        np.testing.assert_array_equal(w.value, before)

    for name in ("ckpt", "ckpt.safetensors"):
        path = tmp_path / name
        distributed.in_threads(3, work)
        with slotwise.state.Reader(path) as reader:
            assert reader.metadata["version"] == 1
