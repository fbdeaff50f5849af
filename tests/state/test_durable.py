# SPDX-License-Identifier: Apache-2.0
"""What a save has put in place is on the disk: files first, then their folder, then the new name.

A power cut cannot be tested here, and a killed process loses nothing that it gave to the kernel. So
this is about the order in which the kernel is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import Variable, optimizers
from slotwise.state import _atomic

Event = tuple[str, int]  # of an inode


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed"])
def events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What was synced, and what was given another name, in order."""
    found: list[Event] = []
    fsync, exchange = os.fsync, _atomic.exchange

    def synced(handle: int) -> None:
        fsync(handle)
        found.append(("sync", os.fstat(handle).st_ino))

    def naming(rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(source: Any, place: Any) -> Any:
            found.append(("name", os.stat(source).st_ino))
            return rename(source, place)

        return renamed

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", naming(os.rename))
    monkeypatch.setattr(os, "replace", naming(os.replace))
    exchanged = naming(exchange) if request.param else lambda a, b: False
    monkeypatch.setattr(_atomic, "exchange", exchanged)
    return found


def check_order(events: list[Event], path: Path) -> None:
    named = max(i for i, event in enumerate(events) if event == ("name", path.stat().st_ino))
    before, after = events[:named], events[named:]
    inside = [*path.iterdir(), path] if path.is_dir() else [path]
    if path.is_dir():
        assert len(inside) > 2  # an index and a shard
    for place in inside:
        assert ("sync", place.stat().st_ino) in before, f"{place.name} is not on the disk"
    assert ("sync", path.parent.stat().st_ino) in after, "the new name is not on the disk"


@pytest.mark.parametrize("name", ["x.safetensors", "folder"])
def test_a_save_is_on_the_disk(events: list[Event], tmp_path: Path, name: str) -> None:
    var, opt = Variable(np.ones(1000), name="var"), optimizers.Adam()
    opt.apply_gradients([(np.ones(1000), var)])
    for _ in range(2):  # where nothing was, and over the one before
        events.clear()
        slotwise.save(tmp_path / name, optimizer=opt, variables=[var], max_shard_size=8000)
        check_order(events, tmp_path / name)


def test_a_delta_is_on_the_disk(events: list[Event], tmp_path: Path) -> None:
    var = Variable(np.ones((100, 4)), name="var")
    slotwise.track(var)
    slotwise.save(tmp_path / "base", variables=[var])
    var.assign(np.zeros((100, 4)))
    events.clear()
    slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", variables=[var])
    check_order(events, tmp_path / "delta")


def test_files_of_others_are_on_the_disk(events: list[Event], tmp_path: Path) -> None:
    """Those that a save takes along, in folders too."""
    path = tmp_path / "model"
    slotwise.save(path, variables={"a": np.ones(3)})
    (path / "logs").mkdir()
    (path / "logs" / "log").write_text("x")
    events.clear()
    slotwise.save(path, variables={"a": np.ones(3)})
    inode = path.stat().st_ino
    named = max(i for i, event in enumerate(events) if event == ("name", inode))
    assert ("sync", (path / "logs").stat().st_ino) in events[:named]
