# SPDX-License-Identifier: Apache-2.0
"""Saves in the background: the moment of the call, exactly, whatever goes on or goes wrong."""

from __future__ import annotations

import copy
import errno
import gc
import mmap
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import slotwise
from slotwise import CheckpointManager, IndexedSlices, Variable, _tracking, optimizers
from slotwise.optimizers import legacy
from slotwise.state import BackgroundSave, StateError, _background, _writer
from support.at_once import in_threads
from support.process import needs_snapshots

pytestmark = needs_snapshots
HUGE = Path("/sys/kernel/mm/transparent_hugepage")
# Left out only where the system has no such pages, cannot join them on request, or has none free:
# each asks the kernel, not our code, which would hide a fault of it.
needs_huge_pages = pytest.mark.skipif(
    not (HUGE / "hpage_pmd_size").exists() or "[never]" in (HUGE / "enabled").read_text(),
    reason=f"the kernel has no huge pages, says {HUGE}",
)
needs_collapses = pytest.mark.skipif(
    sys.platform == "linux" and [*map(int, re.findall(r"\d+", os.uname().release)[:2])] < [6, 1],
    reason=f"Linux makes huge pages on request since 6.1, not {os.uname().release}",
)

NAMES = pytest.mark.parametrize("name", ["x", "x.safetensors"])
ONES = {"a": np.ones(1000), "b": np.ones(3, np.float32)}


@pytest.fixture(autouse=True)
def nothing_in_flight() -> Iterator[None]:
    """No error of a save in the background is left to the next test."""
    yield
    saving = _background._latest
    if saving is not None:
        assert saving._ended.wait(60)
        saving._is_told = True


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Holds the process that writes, at its beginning, until the gate is opened."""
    place, own = tmp_path_factory.mktemp("gate") / "open", os.getpid()
    refuse = _writer._refuse_others

    def waiting(*arguments: Any) -> None:
        end = time.monotonic() + 60
        while os.getpid() != own and not place.exists() and time.monotonic() < end:
            time.sleep(0.001)
        refuse(*arguments)

    monkeypatch.setattr(_writer, "_refuse_others", waiting)
    yield place.touch
    place.touch()


def writer() -> psutil.Process:
    """The process that writes."""
    found: list[psutil.Process] = psutil.Process().children()
    assert len(found) == 1
    return found[0]


def saved(path: Path, **arguments: Any) -> BackgroundSave:
    found = slotwise.save(path, **arguments, background=True)
    assert found.is_background
    return found


# ----- the moment of the call --------------------------------------------------------------------


class Job:
    """An optimizer, its variables, and steps that change all of them."""

    def __init__(self, kind: str) -> None:
        rng = np.random.default_rng(0)
        self.table = Variable(slotwise.zeros((200_000, 8)), name="table")
        self.table.assign(rng.standard_normal(self.table.shape).astype(np.float32))
        self.strided = Variable(np.zeros((70, 3000), np.float32).T, name="strided")
        self.own = [self.table, Variable(np.ones(11, np.float16), name="half")]
        self.own += [Variable(np.ones(5), name="double")]
        self.opt = {
            "adam": lambda: optimizers.Adam(0.01, amsgrad=True),
            "lazy": lambda: optimizers.Adam(0.01, sparse="lazy"),
            "ema": lambda: optimizers.SGD(0.1, momentum=0.9, use_ema=True, weight_decay=0.01),
            "adafactor": lambda: optimizers.Adafactor(0.01),
            "legacy": lambda: legacy.Nadam(0.01),
            "legacy-sparse": lambda: legacy.Adagrad(0.1),
            "deferred": lambda: optimizers.Adam(0.01, sparse="deferred"),
        }[kind]()
        self.is_sparse, self.count = kind in ("lazy", "legacy-sparse", "deferred"), 0
        self.step()

    def step(self) -> None:
        rng = np.random.default_rng(self.count)
        self.count += 1
        pairs: list[Any] = [(np.full(v.shape, 0.5, v.dtype), v) for v in self.own[1:]]
        grad: Any = np.full(self.table.shape, 0.1, np.float32)
        if self.is_sparse:
            ids = rng.integers(0, len(self.table), 500)
            grad = IndexedSlices(np.ones((500, 8), np.float32), ids, self.table.shape)
        self.opt.apply_gradients([(grad, self.table), *pairs])
        self.strided.value[:] += 1

    @property
    def all(self) -> list[Variable]:
        return [*self.own, self.strided]

    def now(self) -> dict[str, Any]:
        state = self.opt.state_dict(copy=True)
        del state["config"]
        return {**state, **{v.name: np.array(v.value) for v in self.all}}


@NAMES
@pytest.mark.parametrize("kind", ["adam", "lazy", "ema", "adafactor", "legacy", "legacy-sparse"])
def test_what_is_written_is_the_moment_of_the_call(
    tmp_path: Path, name: Any, kind: Any, gate: Any
) -> None:
    job = Job(kind)
    for round_ in range(2):
        expected = job.now()
        saving = saved(
            tmp_path / name, optimizer=job.opt, variables=job.all, extra=round_, verify=bool(round_)
        )
        job.step()  # before anything is written
        gate()
        while not saving.done():
            job.step()
        assert saving.result() == saving.id
        found = slotwise.load(tmp_path / name)
        assert found.extra == round_ and found.arrays.keys() == expected.keys()
        for key, array in found.arrays.items():
            assert array.dtype == expected[key].dtype
            assert array.tobytes() == expected[key].tobytes(), key
        assert os.listdir(tmp_path) == [name]


def raw(path: Path) -> dict[str, Any]:
    with slotwise.state.Reader(path) as reader:
        return {name: reader.read(name) for name in reader.names}


def test_deferred_rows_are_written_as_they_lie(tmp_path: Path, gate: Any) -> None:
    """What a plain save writes, with the steps of the rows that are behind."""
    job = Job("deferred")
    for _ in range(5):
        job.step()
    given: Any = {"optimizer": job.opt, "variables": job.all}
    slotwise.save(tmp_path / "plain", **given)
    saving = saved(tmp_path / "x", **given)
    job.step()
    job.opt.flush()
    gate()
    saving.result()
    expected, found = (raw(tmp_path / name) for name in ("plain", "x"))
    assert found.keys() == expected.keys() and "table/deferred_steps" in found
    for key, array in found.items():
        assert array.tobytes() == expected[key].tobytes(), key


def test_arrays_that_share_memory_are_written_whole(tmp_path: Path) -> None:
    """Pages are freed once they are written, but not those of another array."""
    x = np.arange(8 << 20, dtype=np.float32)
    given: dict[str, Any] = {
        "x": x,
        "part": x[1 << 20 :],
        "again": x[:],
        "alone": x + 1,
        "empty": np.zeros(0),
    }
    expected = {name: array.copy() for name, array in given.items()}
    saving = saved(tmp_path / "x", variables=given, verify=True)
    x += 1
    given["alone"] += 1
    saving.result()
    for name, array in slotwise.load(tmp_path / "x").arrays.items():
        np.testing.assert_array_equal(array, expected[name])


def test_forks_beside_steps_and_saves(tmp_path: Path) -> None:
    """Whatever other threads hold at that moment."""
    jobs, is_over = [Job("adam"), Job("lazy")], threading.Event()
    errors: list[BaseException] = []

    def loop(function: Callable[[], Any]) -> None:
        try:
            while not is_over.is_set():
                function()
        except BaseException as error:
            errors.append(error)

    def churn() -> None:
        [bytearray(size) for size in range(0, 100_000, 1000)], warnings.warn("x", stacklevel=1)

    others = [*(job.step for job in jobs), churn, gc.collect]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=loop, args=(other,)) for other in others]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                job = jobs[number % 2]
                saving = saved(tmp_path / "x", optimizer=job.opt, variables=job.own, verify=True)
                saving.result(60)
                loaded = slotwise.load(tmp_path / "x").arrays
                assert (loaded["double"] != 1).all() and loaded["iterations"] > 0
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert not errors, errors


def test_who_waits_for_another_save_holds_up_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Any
) -> None:
    """Two threads find none in flight; the second one to begin finds the first one's."""
    job, both, settle = Job("adam"), threading.Barrier(2), _background.settle

    def together() -> None:
        settle()
        with suppress(threading.BrokenBarrierError):
            both.wait(10)
            both.abort()  # once

    monkeypatch.setattr(_background, "settle", together)
    savings: list[BackgroundSave] = []

    def work(number: Any) -> None:
        given: Any = {"optimizer": job.opt, "variables": job.own}
        savings.append(slotwise.save(tmp_path / f"{number}", **given, background=True))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 60
    while not savings and time.monotonic() < end:
        time.sleep(0.001)
    for _ in range(3):
        job.step()
    assert [saving.done() for saving in savings] == [False]
    gate()
    for thread in threads:
        thread.join()
    for saving in savings:
        saving.result()
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]


def test_savers_in_threads_take_turns(tmp_path: Path) -> None:
    def work(number: Any) -> None:
        for _ in range(4):
            saving = slotwise.save(
                tmp_path / f"{number}", variables=ONES, extra=number, background=True
            )
            assert len(psutil.Process().children()) <= 1
            saving.result(60)
            assert slotwise.load(tmp_path / f"{number}").extra == number

    in_threads(work, 4)


def test_an_assignment_that_is_under_way_is_an_error(tmp_path: Path) -> None:
    """Half of it would be written, of which no checksum knows."""
    w = Variable(np.zeros(3), name="w")
    other = Variable(np.zeros(3), name="other")
    with _tracking.changing(w.value):  # as an assignment in another thread
        saved(tmp_path / "x", variables=[other]).result()
        saving = saved(tmp_path / "x", variables=[other, w])
    with pytest.raises(StateError, match="'w' was changed while it was saved"):
        saving.result()
    saved(tmp_path / "x", variables=[other, w]).result()


def test_assignments_of_a_parent_are_none_of_its_child(tmp_path: Path) -> None:
    """It was forked while one was under way, which does not go on there."""
    w = Variable(np.zeros(3), name="w")
    with _tracking.changing(w.value):
        child = os.fork()
        if child == 0:
            try:
                os._exit(17 if saved(tmp_path / "x", variables=[w]).result(60) else 18)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


def test_assignments_beside_saves_are_whole_or_an_error(tmp_path: Path) -> None:
    w, is_over = Variable(np.zeros(1 << 20), name="w"), threading.Event()

    def assign() -> None:
        value = np.zeros(w.shape)
        while not is_over.is_set():
            value += 1
            w.assign(value)

    thread = threading.Thread(target=assign)
    thread.start()
    try:
        for _ in range(20):
            saving = saved(tmp_path / "x", variables=[w])
            try:
                saving.result()
            except StateError as error:
                assert "'w' was changed" in str(error)
                continue
            found = slotwise.load_array(tmp_path / "x", "w")
            assert (found == found[0]).all()
    finally:
        is_over.set()
        thread.join()
    slotwise.save(tmp_path / "x", variables=[w])


# ----- deltas ------------------------------------------------------------------------------------


def tracked() -> tuple[Variable, Any, Callable[[int], None]]:
    emb = Variable(np.zeros((100, 2)), name="emb")
    touched = slotwise.track(emb)

    def change(row: int) -> None:
        emb.value[row] += 1
        touched.mark([row])

    return emb, touched, change


def test_deltas(tmp_path: Path, gate: Any) -> None:
    emb, touched, change = tracked()
    base = saved(tmp_path / "base", variables=[emb])
    change(3)
    assert touched.since == base.id and touched.rows.tolist() == [3]
    threading.Timer(0.1, gate).start()
    # It waits until the base is there.
    delta = slotwise.save_delta(
        tmp_path / "delta", since=tmp_path / "base", variables=[emb], background=True
    )
    assert base.done() and delta.is_background
    expected = emb.numpy().copy()
    change(5)
    assert delta.result() == touched.since
    assert slotwise.load_array(tmp_path / "delta", "emb@rows").tolist() == [3]
    loaded = slotwise.load(tmp_path / "base", deltas=[tmp_path / "delta"]).arrays["emb"]
    np.testing.assert_array_equal(loaded, expected)
    assert touched.rows.tolist() == [5]


@pytest.mark.parametrize("is_delta", [False, True])
def test_rows_of_a_save_that_fails_stay_touched(tmp_path: Path, is_delta: Any, gate: Any) -> None:
    emb, touched, change = tracked()
    base = slotwise.save(tmp_path / "base", variables=[emb])
    change(3)
    (tmp_path / "file").write_text("")
    given: dict[str, Any] = {"variables": [emb], "background": True}
    if is_delta:
        saving = slotwise.save_delta(tmp_path / "file", since=base, **given)
    else:
        saving = slotwise.save(tmp_path / "file", **given)
    change(7)
    assert touched.rows.tolist() == [7]
    gate()
    with pytest.raises(FileExistsError):
        saving.result()
    assert touched.rows.tolist() == [3, 7] and touched.since == base
    slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", variables=[emb])
    assert slotwise.load_array(tmp_path / "delta", "emb@rows").tolist() == [3, 7]


def test_rows_count_before_the_writer_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no thread can be started that follows it."""

    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    emb, touched, change = tracked()
    base = slotwise.save(tmp_path / "base", variables=[emb])
    change(3)
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        saving = saved(tmp_path / "file", variables=[emb])
        assert saving.done()
    with pytest.raises(FileExistsError):
        saving.result()
    assert touched.rows.tolist() == [3] and touched.since == base


def test_a_load_meanwhile_is_what_counts(tmp_path: Path, gate: Any) -> None:
    emb, touched, change = tracked()
    base = slotwise.save(tmp_path / "base", variables=[emb])
    change(3)
    (tmp_path / "file").write_text("")
    saving = saved(tmp_path / "file", variables=[emb])
    slotwise.load(tmp_path / "base", variables=[emb])
    gate()
    with pytest.raises(FileExistsError):
        saving.result()
    assert touched.rows.tolist() == [] and touched.since == base


# ----- handles and errors ------------------------------------------------------------------------


def test_a_handle(tmp_path: Path, gate: Any) -> None:
    saving = saved(tmp_path / "x", variables=ONES)
    assert not saving.done() and saving.path == tmp_path / "x" and "being written" in repr(saving)
    with pytest.raises(TimeoutError, match="still being written"):
        saving.result(0.01)
    assert not (tmp_path / "x").exists()
    child = os.fork()
    if child == 0:
        try:
            _background.settle()  # as every save does: there it waits for nobody
            saving.result()
        except RuntimeError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate()
    assert saving.result(60) == saving.result() == saving.id
    assert saving.done() and "complete" in repr(saving)
    with slotwise.state.Reader(saving.path) as reader:
        assert reader.metadata["id"] == saving.id


def test_timeouts_and_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saving = saved(Path("x"), variables=ONES)
    monkeypatch.chdir("/")
    for bad in (-1, float("nan"), "x", [1]):
        with pytest.raises(
            (TypeError, ValueError), match=r"result: timeout: expected a (finite )?num"
        ):
            saving.result(bad)
    assert saving.result(float("inf")) == saving.result(1e10) == saving.result(np.float32(60))
    assert saving.path == tmp_path / "x" and saving.path.exists()
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="BackgroundSave: a copy: expected its id and path"):
            copied(saving)
    manager = CheckpointManager(tmp_path / "m", background=True)
    manager.save(1, variables=ONES)
    again = pickle.loads(pickle.dumps(manager))
    manager.close()
    assert again.saving is None and again.background and again.steps == [1]


def test_arguments_are_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="extra"):
        slotwise.save(tmp_path / "x", variables=ONES, extra={1, 2}, background=True)
    for given in (np.ones(2), "no", "False"):
        with pytest.raises(TypeError, match="background: expected True or False"):
            slotwise.save(tmp_path / "x", variables=ONES, background=given)
        with pytest.raises(TypeError, match="background: expected True or False"):
            CheckpointManager(tmp_path, background=given)
    assert os.listdir(tmp_path) == []


def test_an_error_that_nobody_was_told_is_one_of_the_next_save(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    saving = saved(tmp_path / "file", variables=ONES)
    with pytest.raises(FileExistsError, match="expected a checkpoint or nothing, got a file"):
        slotwise.save(tmp_path / "x", variables=ONES)
    assert "failed" in repr(saving) and os.listdir(tmp_path) == ["file"]
    slotwise.save(tmp_path / "x", variables=ONES)  # once
    with pytest.raises(FileExistsError):
        saving.result()

    saving = saved(tmp_path / "file", variables=ONES)
    with pytest.raises(FileExistsError):
        saving.result()
    saved(tmp_path / "x", variables=ONES).result()


@NAMES
def test_a_file_that_grows_too_large(tmp_path: Path, name: Any) -> None:
    slotwise.save(tmp_path / name, variables=ONES)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        saving = saved(tmp_path / name, variables={"a": np.zeros(1 << 18)})
        with pytest.raises(OSError, match="File too large") as caught:
            saving.result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == [name] and slotwise.load(tmp_path / name).arrays["a"][0] == 1


def test_a_writer_that_is_killed(tmp_path: Path, gate: Any) -> None:
    slotwise.save(tmp_path / "x", variables=ONES)
    saving = saved(tmp_path / "x", variables={"a": np.zeros(3)})
    writer().kill()
    with pytest.raises(RuntimeError, match=r"x: the process that writes it was ended by signal 9"):
        saving.result()
    assert slotwise.load(tmp_path / "x").arrays["a"][0] == 1
    gate()
    saved(tmp_path / "x", variables={"a": np.zeros(3)}).result()
    assert os.listdir(tmp_path) == ["x"] and slotwise.load(tmp_path / "x").arrays["a"][0] == 0


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_program_that_waits_for_any_child(tmp_path: Path, how: Any, gate: Any) -> None:
    """And so has it before we do; or has the system forget all of them."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        saving = saved(tmp_path / "x", variables=ONES)
        if how == "killed":
            writer().kill()
            with pytest.raises(RuntimeError, match="the process that writes it was ended"):
                saving.result()
        else:
            gate()
            saving.result()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_pipe_that_others_inherit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of the program's, forked at that moment, lives on: the save ends all the same."""
    fork, other = os.fork, []

    def twice() -> int:
        process = fork()
        if process:
            other.append(fork())
            if other[0] == 0:
                time.sleep(60)
                os._exit(0)
        return process

    monkeypatch.setattr(os, "fork", twice)
    try:
        saved(tmp_path / "x", variables=ONES).result(30)
    finally:
        os.kill(other[0], signal.SIGKILL)
        os.waitpid(other[0], 0)


def test_a_program_that_closes_descriptors_that_are_not_its_own(tmp_path: Path, gate: Any) -> None:
    (tmp_path / "file").write_text("")
    for path, ends_well in ((tmp_path / "x", True), (tmp_path / "file", False)):
        before = {*os.listdir("/proc/self/fd")}
        saving = saved(path, variables=ONES)
        for handle in {*os.listdir("/proc/self/fd")} - before:
            with suppress(OSError):  # that of the list
                os.close(int(handle))
        gate()
        if ends_well:
            assert saving.result(60) == saving.id
            assert slotwise.load_array(path, "b").tolist() == [1, 1, 1]
        else:
            with pytest.raises((RuntimeError, FileExistsError)):  # what it said, if that was heard
                saving.result(60)


@pytest.mark.parametrize("advice", [mmap.MADV_DONTFORK, 18])  # MADV_WIPEONFORK
def test_memory_that_is_not_forked(tmp_path: Path, advice: int) -> None:
    memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(advice)
    saving = saved(tmp_path / "x", variables={"a": np.frombuffer(memory, np.uint8)})
    with pytest.raises(StateError, match="'a': expected memory that a child of fork has"):
        saving.result()


# ----- in the foreground instead -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["table", "anonymous", "private"])
def test_shared_memory_is_saved_in_the_foreground(tmp_path: Path, kind: Any) -> None:
    if kind == "table":
        x: Any = slotwise.open_table(tmp_path / "map", (3000, 10), mode="w+")
    else:
        x = np.frombuffer(mmap.mmap(-1, 120_000), np.float32).reshape(3000, 10)
    if kind == "private":  # pages that nobody wrote to are those of the file
        np.zeros(x.shape, np.float32).tofile(tmp_path / "private")
        x = np.memmap(tmp_path / "private", np.float32, "c", shape=x.shape)
    x[:1] = 1
    with pytest.warns(UserWarning, match="background: 'w' is in shared memory") as caught:
        saving = slotwise.save(
            tmp_path / "x", variables={"other": np.ones(3), "w": x}, background=True
        )
    assert caught[0].filename == __file__
    assert not saving.is_background and saving.done() and saving.result() == saving.id
    np.testing.assert_array_equal(slotwise.load_array(tmp_path / "x", "w"), x)
    with pytest.warns(UserWarning, match="in the foreground"), pytest.raises(FileExistsError):
        slotwise.save(tmp_path / "map", variables={"w": x, "x": x}, background=True) if (
            kind == "table"
        ) else slotwise.save(_file(tmp_path), variables={"w": x}, background=True)


def _file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "no memory"), RuntimeError("shutdown")])
def test_no_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def fork() -> int:
        raise error

    emb, touched, change = tracked()
    change(3)
    monkeypatch.setattr(os, "fork", fork)
    handles = len(os.listdir("/proc/self/fd"))
    with pytest.warns(UserWarning, match="save: background: fork: .*saved in the foreground"):
        saving = slotwise.save(tmp_path / "x", variables=[emb], background=True)
    assert len(os.listdir("/proc/self/fd")) == handles
    assert saving.done() and touched.since == saving.id and touched.rows.tolist() == []
    assert slotwise.load_array(tmp_path / "x", "emb")[3, 0] == 1


# ----- managers ----------------------------------------------------------------------------------


def test_a_manager(tmp_path: Path, gate: Any) -> None:
    with CheckpointManager(tmp_path, max_to_keep=2, background=True) as manager:
        assert manager.saving is None
        manager.close()
        path = manager.save(1, variables=ONES)
        first = manager.saving
        assert first is not None and not first.done()
        assert path == tmp_path / "step-1" == first.path
        assert manager.steps == [] and manager.latest is None and manager.restore_latest() is None
        gate()
        for step in range(2, 6):
            manager.save(step, variables=ONES, extra=step)
            assert manager.latest in (step - 1, step) and len(manager.steps) <= 3
    assert first.done() and manager.steps == [4, 5]
    found = manager.restore_latest()
    assert found is not None and found.extra == 5
    manager.save(6, variables=ONES, background=False)
    assert manager.steps == [5, 6]


def test_a_manager_whose_save_fails(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, max_to_keep=1, background=True)
    manager.save(1, variables=ONES)
    manager.close()
    (tmp_path / "step-2").write_text("")
    manager.save(2, variables=ONES)
    with pytest.raises(FileExistsError):
        manager.close()
    manager.close()  # who closes knows
    (tmp_path / "step-2").unlink()
    assert manager.steps == [1]
    (tmp_path / "step-3").write_text("")
    manager.save(3, variables=ONES)
    with pytest.raises(FileExistsError):
        manager.save(4, variables=ONES)
    (tmp_path / "step-3").unlink()
    manager.save(4, variables=ONES)
    manager.close()
    assert manager.steps == [4]


# ----- processes ---------------------------------------------------------------------------------

BEGIN = """
import os, signal, sys, threading, time
import numpy as np, slotwise
path = sys.argv[1]
x = slotwise.full((4 << 20, 4), 1.0)
w = slotwise.Variable(x, name="w")
"""


def program(path: Path, code: str, *more: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGIN + textwrap.dedent(code), str(path), *more]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, **kwargs
    )


def test_the_end_of_the_interpreter_waits(tmp_path: Path) -> None:
    done = program(tmp_path / "x", "slotwise.save(path, variables=[w], background=True); x[:] = 2")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["x"] and (slotwise.load_array(tmp_path / "x", "w") == 1).all()


def test_the_end_of_the_interpreter_tells_errors(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = program(tmp_path / "x", "slotwise.save(path, variables=[w], background=True)")
    assert done.returncode == 0 and "it failed in the background: FileExistsError" in done.stderr


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_the_end_of_a_child_of_multiprocessing(tmp_path: Path, method: str) -> None:
    """It runs no function of atexit, and waits and tells errors nevertheless: once."""
    (tmp_path / "child.py").write_text(
        textwrap.dedent("""
        import multiprocessing, sys, slotwise
        def save(path):
            w = slotwise.Variable(slotwise.full((4 << 20, 4), 1.0), name="w")
            slotwise.save(path, variables=[w], background=True)
        if __name__ == "__main__":
            child = multiprocessing.get_context(sys.argv[1]).Process(target=save, args=sys.argv[2:])
            child.start()
            child.join()
            sys.exit(child.exitcode)
        """)
    )
    (tmp_path / "file").write_text("")
    for name, told in (("x", 0), ("file", 1)):
        command = [sys.executable, tmp_path / "child.py", method, tmp_path / name]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0
        assert done.stderr.count("it failed in the background: FileExistsError") == told
    assert (slotwise.load_array(tmp_path / "x", "w") == 1).all()


def test_a_program_that_is_killed_leaves_the_writer_to_finish(tmp_path: Path) -> None:
    """And nobody who waits for the program waits for the writer, too: nor for its pipes."""
    slotwise.save(tmp_path / "x", variables={"w": np.zeros(3)})
    code = """
        from slotwise.state import _writer
        refuse = _writer._refuse_others
        def waiting(*arguments):
            while not os.path.exists(path + ".go"):
                time.sleep(0.01)
            refuse(*arguments)
        _writer._refuse_others = waiting
        slotwise.save(path, variables=[w], background=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = program(tmp_path / "x", code)
    assert done.returncode == -signal.SIGKILL
    assert slotwise.load_array(tmp_path / "x", "w").shape == (3,)
    (tmp_path / "x.go").touch()
    end = time.monotonic() + 60
    while slotwise.load_array(tmp_path / "x", "w").shape == (3,) and time.monotonic() < end:
        time.sleep(0.01)
    assert (slotwise.load_array(tmp_path / "x", "w") == 1).all()


def test_a_save_at_the_end_of_the_interpreter(tmp_path: Path) -> None:
    code = """
        import atexit
        atexit.register(slotwise.save, path, variables=[w], background=True)
    """
    done = program(tmp_path / "x", code)
    assert done.returncode == 0
    # Since Python 3.12, there are no forks by then: it is saved in the foreground.
    assert not done.stderr or "can't fork at interpreter shutdown: it is saved in" in done.stderr
    assert os.listdir(tmp_path) == ["x"] and (slotwise.load_array(tmp_path / "x", "w") == 1).all()
    (tmp_path / "file").write_text("")
    done = program(tmp_path / "file", code)
    assert "FileExistsError" in done.stderr


def test_a_program_without_standard_descriptors(tmp_path: Path) -> None:
    code = """
        for handle in range(3):
            os.close(handle)
        saving = slotwise.save(path, variables=[w], background=True)
        os._exit(17 if saving.result() == saving.id else 18)
    """
    assert program(tmp_path / "x", code).returncode == 17


def test_no_object_of_the_program_is_finalized_in_the_writer(tmp_path: Path) -> None:
    """Values of threads, of contexts, and what an `except` block handles."""
    code = """
        import contextvars
        class Precious:
            def __del__(self):
                os.write(log, b"finalized")
        log = os.open(path + ".log", os.O_WRONLY | os.O_CREAT)
        local, variable = threading.local(), contextvars.ContextVar("variable")
        def hold():
            local.value = Precious()
            variable.set(Precious())
        def fail():
            own = Precious()
            raise ValueError
        def wait():
            hold()
            ready.set()
            over.wait()
        ready, over = threading.Event(), threading.Event()
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        ready.wait()
        hold()
        try:
            fail()
        except ValueError:
            slotwise.save(path, variables=[w], background=True).result()
            assert os.path.getsize(path + ".log") == 0
        over.set()
        thread.join()  # its values end with it, or soon after
        end = time.monotonic() + 30
        while os.path.getsize(path + ".log") < 3 * len("finalized") and time.monotonic() < end:
            time.sleep(0.01)
        assert os.path.getsize(path + ".log") == 3 * len("finalized")  # and here they are
        os._exit(0)
    """
    done = program(tmp_path / "x", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_handlers_of_the_program_run_in_the_program_alone(tmp_path: Path) -> None:
    code = """
        def handler(number, frame):
            if os.getpid() != own:
                os._exit(3)
        own = os.getpid()
        for number in (signal.SIGCONT, signal.SIGTSTP, signal.SIGCHLD):
            signal.signal(number, handler)
        saving = slotwise.save(path, variables=[w], background=True)
        for number in (signal.SIGCONT, signal.SIGTSTP, signal.SIGCONT):
            os.killpg(0, number)
            time.sleep(0.02)
        assert saving.result() == saving.id
    """
    done = program(tmp_path / "x", code, start_new_session=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_signals_to_all_of_a_job_are_for_the_program(tmp_path: Path) -> None:
    code = """
        caught = []
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: caught.append(number))
        saving = slotwise.save(path, variables=[w], background=True)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.killpg(0, number)
        try:
            os.killpg(0, signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            pass
        assert len(caught) == 3 and saving.result() == saving.id
    """
    done = program(tmp_path / "x", code, start_new_session=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (slotwise.load_array(tmp_path / "x", "w") == 1).all()


@pytest.mark.parametrize("keeps", [False, True])
def test_memory(tmp_path: Path, keeps: Any) -> None:
    """The writer has a few buffers for itself, and what is changed before it is written.

    What is written, it gives up: else a copy of the whole table would be made here.
    """
    code = """
        from slotwise.state import _atomic, _mappings
        sync = _atomic.sync
        def holding(place):  # when all is written
            open(path + ".all", "w").close()
            while not os.path.exists(path + ".go"):
                time.sleep(0.01)
            _atomic.sync = sync
            sync(place)
        _atomic.sync = holding
        if sys.argv[2] == "True":
            _mappings.give_up = lambda span: None
        w = slotwise.Variable(slotwise.full((16 << 20, 4), 1.0), name="w")
        slotwise.save(path, variables=[w], background=True)
        while not os.path.exists(path + ".all"):
            time.sleep(0.01)
        w.value[:] = 5
        tasks = os.listdir("/proc/self/task")
        children = [open(f"/proc/self/task/{task}/children").read() for task in tasks]
        rollup = open(f"/proc/{int(''.join(children))}/smaps_rollup").read()
        print(sum(int(l.split()[1]) for l in rollup.splitlines() if l.startswith("Private")))
        open(path + ".go", "w").close()
    """
    done = program(tmp_path / "x", code, str(keeps))
    assert (done.returncode, done.stderr) == (0, "")
    assert (int(done.stdout) < 64 << 10) != keeps
    assert (slotwise.load_array(tmp_path / "x", "w") == 1).all()


@needs_huge_pages
def test_pages_that_other_processes_have_stay_as_they_are(tmp_path: Path) -> None:
    """To make huge pages of them would take a copy."""
    code = """
        from slotwise.state import _mappings
        spans, collapsed = [], []
        class Library:
            def madvise(self, at, size, advice):
                collapsed.append(at)
        _mappings._libc = Library()
        w.value[:] = 2
        begin = w.value.ctypes.data
        span = begin, begin + w.value.nbytes
        _mappings.mend([span], lambda: True)
        alone = len(collapsed)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(reading, 1)
            os._exit(0)
        _mappings.mend([span], lambda: True)
        print(alone, len(collapsed) - alone)
        os.write(writing, b"x")
        os.waitpid(child, 0)
    """
    done = program(tmp_path / "x", code)
    assert (done.returncode, done.stderr) == (0, "")
    alone, shared = map(int, done.stdout.split())
    assert alone >= 31 and shared == 0  # of 64 MiB, which may begin within a page


@needs_huge_pages
@needs_collapses
def test_huge_pages_are_made_again(tmp_path: Path) -> None:
    """The first write after a fork splits them."""
    code = """
        def huge():
            lines = open("/proc/self/smaps_rollup").read().splitlines()
            return sum(int(l.split()[1]) for l in lines if l.startswith("AnonHugePages"))
        import mmap
        table = huge()
        other = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        other.madvise(mmap.MADV_HUGEPAGE)
        other[:: 4096] = bytes(len(other) // 4096)
        before = huge()
        saving = slotwise.save(path, variables=[w], background=True)
        x[:: 1 << 10] = 5
        split = huge()
        saving.result()
        end = time.monotonic() + 30
        while huge() < before and time.monotonic() < end:
            time.sleep(0.1)
        print(table, before, split, huge())
    """
    done = program(tmp_path / "x", code)
    assert (done.returncode, done.stderr) == (0, "")
    table, before, split, after = map(int, done.stdout.split())
    if before == table:
        pytest.skip("no huge page is free: 16 MiB of the test's own that ask for them got none")
    assert table > 0  # our memory asks for them, too
    assert split < before
    assert after >= before
