# SPDX-License-Identifier: Apache-2.0
"""A folder of checkpoints: steps, what is latest, what is removed, and who else is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import CheckpointManager, Variable, optimizers
from slotwise.optimizers import legacy
from slotwise.state import StateError, _manager
from support.at_once import in_threads


def value(step: Any) -> Any:
    return {"x": np.full(3, step)}


def saved(manager: Any, *steps: Any) -> None:
    for step in steps:
        manager.save(step, variables=value(step), extra=step)


def test_what_was_written_last_is_the_latest(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    assert manager.latest is None and manager.restore_latest() is None
    saved(manager, 1, 5, 10, 9)
    assert (manager.steps, manager.latest) == ([9, 10], 9)
    assert manager.restore_latest().extra == 9
    assert manager.restore(10).arrays["x"].tolist() == [10, 10, 10]
    os.rename(tmp_path / "step-9", tmp_path / ".step-9.01234567.old")
    assert manager.restore_latest().extra == 9


@pytest.mark.parametrize("suffix", ["fresh", "same"])
def test_a_run_below_the_steps_of_another_keeps_its_own(tmp_path: Path, suffix: Any) -> None:
    old = CheckpointManager(tmp_path, max_to_keep=3)
    saved(old, 800, 900, 1000)
    new = CheckpointManager(tmp_path, max_to_keep=3) if suffix == "fresh" else old
    saved(new, 10)
    assert (new.steps, new.latest) == ([10, 900, 1000], 10)
    saved(new, 20, 30)
    assert (new.steps, new.latest, new.restore_latest().extra) == ([10, 20, 30], 30, 30)
    new.restore(10)
    saved(new, 11, 12)
    assert (new.steps, CheckpointManager(tmp_path).latest) == ([11, 12, 30], 12)
    saved(new, 30)  # again
    assert (new.steps, new.latest) == ([11, 12, 30], 30)
    saved(new, 13)
    assert (new.steps, new.latest) == ([12, 13, 30], 13)


def test_one_is_kept(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, max_to_keep=1)
    saved(manager, 5, 3)
    assert manager.steps == [3] and os.listdir(tmp_path) == ["step-3"]
    every = CheckpointManager(tmp_path, max_to_keep=None)
    saved(every, 2, 1)
    assert (every.steps, every.latest) == ([1, 2, 3], 1)


STEPS = [
    7,
    np.int64(7),
    np.uint8(7),
    np.array(7),
    np.array(7, np.int16),
    7.0,
    np.float32(7),
    np.array(7.0),
    ml_dtypes.bfloat16(7),
    Variable(np.array(7)),
    Variable(7.0),
]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_numbers_that_are_integers_are_that_step(tmp_path: Path, step: Any) -> None:
    manager = CheckpointManager(tmp_path)
    assert manager.save(step, variables=value(7)) == tmp_path / "step-7" == manager.path(step)
    assert manager.steps == [7] and type(manager.latest) is int
    assert manager.restore(step).arrays["x"][0] == 7


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_the_count_of_an_optimizer_is_a_step(tmp_path: Path, api: Any) -> None:
    w, opt = Variable(np.zeros(2, np.float32), name="w"), api.SGD(0.1)
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    for _ in range(4):
        opt.apply_gradients([(np.ones(2, np.float32), w)])
        manager.save(opt.iterations, optimizer=opt, variables=[w])
    assert sorted(os.listdir(tmp_path)) == ["step-3", "step-4"]
    assert manager.latest == 4
    assert not manager.restore_latest(optimizer=opt, variables=[w]).report


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (True, TypeError),
        (np.True_, TypeError),
        (np.array(False), TypeError),
        ("7", TypeError),
        (b"7", TypeError),
        (None, TypeError),
        ([7], TypeError),
        (np.array([7]), TypeError),
        (7j, TypeError),
        (0.5, ValueError),
        (np.float32(0.5), ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (-1, ValueError),
        (-1.0, ValueError),
        (Variable(0.5), ValueError),
    ],
    ids=repr,
)
def test_other_steps_are_refused_before_anything_is_written(
    tmp_path: Path, step: Any, error: Any
) -> None:
    manager = CheckpointManager(tmp_path / "folder")
    for method in (manager.save, manager.restore, manager.path):
        what = r"^CheckpointManager\.\w+: step: expected an integer of 0 or more, got "
        with pytest.raises(error, match=what):
            method(step, **({} if method == manager.path else {"variables": value(1)}))
    assert not (tmp_path / "folder").exists()


def test_other_names_are_nobodys(tmp_path: Path) -> None:
    names = ("step-5_backup", "step-07", "step-٣", "step--1", "step-1.5", "xstep-3", "step-")
    for name in names:
        (tmp_path / name).mkdir()
    manager = CheckpointManager(tmp_path, max_to_keep=1)
    saved(manager, 1, 2)
    assert manager.steps == [2] and manager.latest == 2
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "step-2"])


def test_folders_of_older_versions_come_first_by_their_steps(tmp_path: Path) -> None:
    for step in (10, 9, 20):
        slotwise.save(tmp_path / f"step-{step}", variables=value(step), extra=step)
    manager = CheckpointManager(tmp_path, max_to_keep=3)
    assert manager.latest == 20 and manager.restore_latest().extra == 20
    saved(manager, 1)
    assert (manager.steps, manager.latest) == ([1, 10, 20], 1)
    saved(manager, 2, 3)
    assert manager.steps == [1, 2, 3]


def test_a_copied_folder_goes_on(tmp_path: Path) -> None:
    saved(CheckpointManager(tmp_path / "a"), 30, 20, 10)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy)
    for step in (10, 20, 30):
        os.utime(tmp_path / "b" / f"step-{step}", (step, step))  # clocks that jump
    manager = CheckpointManager(tmp_path / "b")
    assert manager.latest == 10
    saved(manager, 5)
    assert (manager.latest, manager.steps) == (5, [5, 10, 20])


def test_none_is_removed_before_the_new_one_was_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = CheckpointManager(tmp_path, max_to_keep=1)
    saved(manager, 1)
    pwrite = os.pwrite

    def damaging(handle: Any, data: Any, offset: Any) -> Any:
        return pwrite(handle, bytes(len(data)) if len(data) == 24 else data, offset)

    for step in (1, 2):  # the same place, and another
        with monkeypatch.context() as patch:  # a disk that forgets
            patch.setattr(os, "pwrite", damaging)
            with pytest.raises(StateError, match="'x' is damaged"):
                slotwise.CheckpointManager(tmp_path, max_to_keep=1).save(step, variables=value(9))
        assert os.listdir(tmp_path) == ["step-1"]
        assert manager.restore_latest().extra == 1


def test_what_is_damaged_is_not_passed_over(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    saved(manager, 3, 2)
    index = tmp_path / "step-2" / "model.safetensors.index.json"
    index.write_bytes(index.read_bytes()[:-1])
    assert manager.latest == 2
    with pytest.raises(StateError, match="step-2"):
        manager.restore_latest()
    assert manager.restore(3).extra == 3
    saved(manager, 4)
    assert 4 in manager.steps


@pytest.mark.parametrize("same", [False, True])
def test_many_threads_in_one_folder(tmp_path: Path, same: Any) -> None:
    errors, steps = [], iter(range(1000))

    def work(number: Any) -> None:
        own = CheckpointManager(tmp_path, max_to_keep=2)
        try:
            for _ in range(8):
                step = 7 if same else next(steps)
                own.save(step, variables=value(step), extra=step)
                found = own.restore_latest()
                assert found.arrays["x"].tolist() == [found.extra] * 3
        except BaseException as error:
            errors.append(error)

    in_threads(work, 6)
    assert not errors, errors
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    saved(manager, 2000)
    assert manager.latest == 2000
    assert sorted(os.listdir(tmp_path)) == sorted(f"step-{step}" for step in manager.steps)


PROCESS = """
import sys, numpy as np, slotwise
folder, start, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
manager = slotwise.CheckpointManager(folder, max_to_keep=2)
for i in range(12):
    number = start + i * step
    manager.save(number, variables={"x": np.full(3, number)}, extra=number)
    found = manager.restore_latest()
    assert found.arrays["x"].tolist() == [found.extra] * 3
"""


@pytest.mark.parametrize("step", [0, 1])
def test_many_processes_in_one_folder(tmp_path: Path, step: Any) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    running = [
        subprocess.Popen([*command, str(100 * i * step), str(step)], stderr=subprocess.PIPE)
        for i in range(4)
    ]
    errors = [process.communicate()[1].decode() for process in running]
    assert not any(errors), errors
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    saved(manager, 2000)
    assert manager.latest == 2000


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "step-9").symlink_to("gone")
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    assert manager.latest is None and manager.restore_latest() is None
    saved(manager, 3)
    assert manager.latest == 3


def test_what_is_known_does_not_grow(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, max_to_keep=2)
    saved(manager, *range(10))
    assert len(manager._known) <= 3
    assert _manager._number(tmp_path / "step-9") == 10


def test_arguments_are_those_of_save(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    for given in ({"step2": 1}, {"path": tmp_path}, {"sequence": 3}):
        with pytest.raises(TypeError, match=r"^CheckpointManager.save: arguments: expected"):
            manager.save(1, variables=value(1), **given)
    assert manager.steps == []


def test_another_saver_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both save a path where nothing was: between looking and renaming, the other's is there."""
    path, real, others = tmp_path / "ckpt", os.rename, iter([2.0])

    def rename(source: Any, target: Any) -> None:
        if Path(source) == path:
            for other in others:
                slotwise.save(path, variables=value(other))
            raise FileNotFoundError
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    slotwise.save(path, variables=value(1.0))
    assert slotwise.load(path).arrays["x"].tolist() == [1.0] * 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["ckpt"]


def test_no_background_on_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin" if sys.platform == "linux" else sys.platform)
    manager = CheckpointManager(tmp_path, max_to_keep=1, background=True)
    for step in range(3):
        with pytest.warns(UserWarning, match="expected Linux"):
            manager.save(step, variables=value(step))
        assert manager.steps == [step] and manager.saving is not None and manager.saving.done()
