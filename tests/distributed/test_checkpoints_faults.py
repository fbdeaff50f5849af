# SPDX-License-Identifier: Apache-2.0
"""Ranks that fail while they save or load together: all raise, and the old checkpoint stays."""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import distributed, optimizers
from slotwise.distributed import DistributedError
from slotwise.state import _atomic, _checksums, _index, _reader, _writer
from support.process import program
from support.spread import Wrapped, chunk_of, chunks_of, even

RANKS = 3
ROWS = np.arange(6000, dtype=np.float32).reshape(3000, 2)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checksums, "chunk_of_units", chunks_of(1024))


def state(comm: Any, factor: float) -> dict[str, Any]:
    rows, w = ROWS * np.float32(factor), np.full(5, factor)
    return {"emb": even(comm, rows), "w": w, "part": chunk_of(comm, np.full((30, 30), factor))}


def save(comm: Any, path: Path, factor: float) -> None:
    slotwise.save(path, variables=state(comm, factor), verify=True)


def factor_of(path: Path) -> float:
    """What was saved, all of it."""
    arrays = slotwise.load(path).arrays
    factor = float(arrays["w"][0])
    np.testing.assert_array_equal(arrays["emb"], ROWS * np.float32(factor))
    assert (arrays["w"] == factor).all() and (arrays["part"] == factor).all()
    return factor


def no_luck(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSPC, "no luck")


def failing_for(patch: pytest.MonkeyPatch, owner: Any, name: str, file: int, late: int = 0) -> None:
    """A method of files that fails for one of them, after so many calls."""
    real, left = getattr(owner, name), itertools.count(late, -1)

    def call(self: Any, *args: Any) -> Any:
        if self._path.name.startswith(f"model-{file:05}") and next(left) <= 0:
            no_luck()
        return real(self, *args)

    patch.setattr(owner, name, call)


# The files: one of whole arrays, then one of each rank.
STAGES: dict[str, Any] = {
    "folder": (0, lambda patch: patch.setattr(_atomic, "_new", no_luck)),
    "whole": (0, lambda patch: failing_for(patch, _writer._File, "write", 1)),
    "first part": (1, lambda patch: failing_for(patch, _writer._File, "put", 3)),
    "later part": (2, lambda patch: failing_for(patch, _writer._File, "put", 4, 5)),
    "last part": (2, lambda patch: failing_for(patch, _writer._File, "put", 4, 8)),
    "sync": (1, lambda patch: failing_for(patch, _writer._File, "finish", 3)),
    "sync of rank 0": (0, lambda patch: failing_for(patch, _writer._File, "finish", 2)),
    "index": (0, lambda patch: patch.setattr(_index, "encode", no_luck)),
    "likeness": (0, lambda patch: patch.setattr(_atomic, "_be_like", no_luck)),
    "rename": (0, lambda patch: patch.setattr(_atomic, "_put", no_luck)),
}


@pytest.mark.parametrize("stage", STAGES)
def test_what_fails_on_one_rank_fails_on_all(tmp_path: Path, stage: str) -> None:
    path, (rank, inject) = tmp_path / "ckpt", STAGES[stage]
    distributed.in_threads(RANKS, save, path, 1)

    def failing(comm: Any) -> None:
        with pytest.raises(DistributedError, match=rf"^rank {rank}: OSError: .*no luck"):
            save(comm, path, 2)

    with pytest.MonkeyPatch.context() as patch:
        inject(patch)
        distributed.in_threads(RANKS, failing)
    assert os.listdir(tmp_path) == ["ckpt"]
    assert factor_of(path) == 1
    distributed.in_threads(RANKS, save, path, 2)
    assert factor_of(path) == 2
    assert os.listdir(tmp_path) == ["ckpt"]


class Gone(BaseException):
    """A rank that does no more."""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_gone_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setattr(_checksums, "chunk_of_units", chunks_of(16384))
    path = tmp_path / "ckpt"
    distributed.in_threads(RANKS, save, path, 1)
    for last in itertools.count():

        def work(comm: Any, last: int = last) -> None:
            left = itertools.count(last, -1)

            def before(comm: Any, name: str, args: Any) -> None:
                if comm.rank == rank and next(left) == 0:
                    comm.abort("gone")
                    raise Gone

            save(Wrapped(comm, before), path, 2)

        try:
            distributed.in_threads(RANKS, work)
        except (Gone, DistributedError):
            if factor_of(path) == 2:
                distributed.in_threads(RANKS, save, path, 1)
            assert factor_of(path) == 1
        else:
            break
    assert last > 20
    assert factor_of(path) == 2
    assert os.listdir(tmp_path) == ["ckpt"]


def test_a_process_that_is_killed_at_any_call_of_the_system(tmp_path: Path) -> None:
    every = 1 if "SLOTWISE_CRASH_KILLS" in os.environ else 12
    done = program("ranks_crash", tmp_path, every)
    assert done.returncode == 0, done.stdout + done.stderr


def test_errors_before_anything_is_written(tmp_path: Path) -> None:
    """Of one rank: its arguments, its optimizer, what it leaves out."""

    def extra(comm: Any) -> None:
        slotwise.save(
            tmp_path / "ckpt", variables=state(comm, 1), extra=object() if comm.rank == 1 else None
        )

    def left_out(comm: Any) -> None:
        emb, w = even(comm, ROWS), slotwise.Variable(np.ones(3), name="w")
        opt = optimizers.Adagrad(sparse="lazy")
        opt.apply_gradients([(np.ones_like(emb.local.value), emb.local), (np.ones(3), w)])
        slotwise.save(
            tmp_path / "ckpt", optimizer=opt, variables=[emb] if comm.rank == 1 else [emb, w]
        )

    for work, match in (
        (extra, "^rank 1: TypeError: save: extra: expected what JSON can hold"),
        (left_out, "^rank 1: ValueError: save: variables: expected all that the optimizer trains"),
    ):

        def on_all(comm: Any, work: Any = work, match: str = match) -> None:
            with pytest.raises(DistributedError, match=match):
                work(comm)

        distributed.in_threads(RANKS, on_all)
    assert not os.listdir(tmp_path)


def test_a_change_meanwhile_is_noticed_by_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ckpt"
    distributed.in_threads(RANKS, save, path, 1)
    compare = _writer._PartsOfRanks.compare

    def work(comm: Any) -> None:
        given = state(comm, 2)
        if comm.rank == 1:
            mine.append(given["emb"].local.value)
        with pytest.raises(DistributedError, match=r"^rank 1: .* 'emb' was changed"):
            slotwise.save(path, variables=given)

    def comparing(self: Any) -> Any:
        if self._ranks.rank == 1:
            mine[0][-1] += 1
        return compare(self)

    mine: list[np.ndarray] = []
    monkeypatch.setattr(_writer._PartsOfRanks, "compare", comparing)
    distributed.in_threads(RANKS, work)
    assert factor_of(path) == 1


def test_a_slow_rank_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for it longer than they would for one that stands still."""
    finish = _writer._File.finish

    def slow(self: Any) -> None:
        number, count = map(int, re.findall(r"\d+", self._path.name))
        if number > 1 + count // 2:  # those of rank 1
            slept.append(number)
            time.sleep(0.5)
        finish(self)

    def work(comm: Any) -> None:
        slotwise.save(tmp_path / "ckpt", variables=state(comm, 1), max_shard_size=4000)

    slept: list[int] = []
    monkeypatch.setattr(_writer._File, "finish", slow)
    distributed.in_threads(2, work, timeout=1.2)
    assert len(slept) > 3
    assert factor_of(tmp_path / "ckpt") == 1


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Has reading from one file fail after so many times."""

    def put(file: str, late: int) -> None:
        real, left = _reader._File.read, itertools.count(late, -1)

        def read(self: Any, *args: Any) -> None:
            if self.path.endswith(file) and next(left) <= 0:
                no_luck()
            real(self, *args)

        monkeypatch.setattr(_reader._File, "read", read)

    yield put
    monkeypatch.undo()


@pytest.mark.parametrize("late", [0, 4])
@pytest.mark.parametrize("verify", ["before", "during", False])
def test_a_rank_that_cannot_read(tmp_path: Path, reading: Any, late: int, verify: Any) -> None:
    path = tmp_path / "ckpt"
    distributed.in_threads(RANKS, save, path, 1)
    reading("model-00003-of-00004.safetensors", late)
    is_before = verify == "before"

    def load(comm: Any) -> None:
        given = state(comm, 0)
        match = "OSError: .*no luck" + ("$" if is_before else "; arrays were overwritten in part$")
        with pytest.raises(DistributedError, match=match):
            slotwise.load(path, variables=given, verify=verify)
        if is_before:
            assert not given["emb"].local.value.any() and not given["w"].any()

    distributed.in_threads(RANKS, load)


def test_an_optimizer_that_differs_on_one_rank(tmp_path: Path) -> None:
    path = tmp_path / "ckpt"

    def job(comm: Any, epsilon: float) -> tuple[Any, Any]:
        emb, opt = even(comm, ROWS), optimizers.Adagrad(epsilon=epsilon, sparse="lazy")
        opt.apply_gradients([(np.ones_like(emb.local.value), emb.local)])
        return emb, opt

    def work(comm: Any) -> None:
        emb, opt = job(comm, 1e-7)
        slotwise.save(path, optimizer=opt, variables=[emb])
        emb, opt = job(comm, 1e-3 if comm.rank == 2 else 1e-7)
        before = emb.local.numpy().copy()
        with pytest.raises(DistributedError, match=r"^rank 2: ValueError: load: .*epsilon"):
            slotwise.load(path, optimizer=opt, variables=[emb])
        np.testing.assert_array_equal(emb.local.value, before)

    distributed.in_threads(RANKS, work)
