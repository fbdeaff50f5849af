# SPDX-License-Identifier: Apache-2.0
"""Instruction sets and the configuration, from Python and from the environment."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
from support.memory import copies
from support.ops import BY_NAME
from support.process import python

KNOWN = {"AVX3_SPR", "AVX3_ZEN4", "AVX3_DL", "AVX3", "AVX2", "SSE4", "SSSE3", "SSE2"}
KNOWN |= {"SVE2", "SVE", "NEON", "NEON_BF16", "NEON_WITHOUT_AES", "EMU128", "SCALAR"}


def test_targets_are_known_and_end_with_one_that_always_works() -> None:
    names = slotwise.targets()
    assert set(names) <= KNOWN
    assert len(set(names)) == len(names)
    assert len(names) >= 2, "a build for one instruction set has nothing to dispatch"


def test_best_is_active_by_default() -> None:
    run = python("import slotwise; print(slotwise.active_target(), slotwise.targets()[0])")
    active, best = run.stdout.split()
    assert active == best


def test_set_target(target: str) -> None:
    assert slotwise.active_target() == target
    assert slotwise.get_config()["active_target"] == target
    slotwise.set_target(None)
    assert slotwise.active_target() == slotwise.targets()[0]


@pytest.mark.parametrize("name", ["AVX9", "", "avx2", " AVX2"])
def test_unknown_target(name: str) -> None:
    before = slotwise.active_target()
    with pytest.raises(ValueError, match="expected one of") as caught:
        slotwise.set_target(name)
    assert all(known in str(caught.value) for known in slotwise.targets())
    assert repr(name) in str(caught.value)
    assert slotwise.active_target() == before


@pytest.mark.parametrize("name", [1, b"AVX2", ["AVX2"]])
def test_target_that_is_no_name(name: object) -> None:
    with pytest.raises(TypeError, match="name: expected"):
        slotwise.set_target(name)


def test_environment_sets_the_target(target: str) -> None:
    run = python("import slotwise; print(slotwise.active_target())", SLOTWISE_TARGET=target)
    assert run.stdout.strip() == target


def test_unknown_target_in_the_environment() -> None:
    """An error at import, never a silent fallback."""
    run = python("import slotwise", SLOTWISE_TARGET="AVX9")
    assert run.returncode != 0
    assert "SLOTWISE_TARGET" in run.stderr
    assert "'AVX9'" in run.stderr
    assert all(known in run.stderr for known in slotwise.targets())


def test_target_is_seen_by_every_thread(target: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        seen = {f.result() for f in [pool.submit(slotwise.active_target) for _ in range(8)]}
    assert seen == {target}


def test_config(capsys: pytest.CaptureFixture[str]) -> None:
    config = slotwise.get_config()
    assert config["version"] == slotwise.__version__
    assert config["targets"] == slotwise.targets()
    assert config["num_threads"] == slotwise.get_num_threads()
    for key in ("compiler", "highway"):
        assert config[key]
    slotwise.show_config()
    shown = capsys.readouterr().out
    for text in (slotwise.__version__, config["compiler"], config["highway"], *config["targets"]):
        assert text in shown


def test_a_target_survives_concurrent_switching() -> None:
    """Calls see one target or the other, and the same bits from both."""
    from threading import Event, Thread

    case = BY_NAME["ApplyAdam"].default()
    arrays = case.draw(np.float32, 1003, seed=1)
    expected = case.expected(arrays)
    done = Event()

    def switch() -> None:
        while not done.is_set():
            for name in slotwise.targets():
                slotwise.set_target(name)

    thread = Thread(target=switch)
    thread.start()
    try:
        for _ in range(300):
            got = copies(arrays)
            case.call(got)
            assert all((got[name] == expected[name]).all() for name in expected)
    finally:
        done.set()
        thread.join()
        slotwise.set_target(None)
