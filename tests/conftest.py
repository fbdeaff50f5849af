# SPDX-License-Identifier: Apache-2.0
"""What all tests have: the profile of hypothesis, fixtures for targets and threads."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import slotwise

PARITY = Path(__file__).parent / "parity"

# The same examples on every run: a failure that a change did not cause helps no one.
hypothesis.settings.register_profile("slotwise", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=5000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "slotwise"))


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, which tests send."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Tests collect garbage, often: it need not go through all that pytest has made by then."""
    gc.collect()
    gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """tests/parity needs TensorFlow: it runs only where it is asked for by name."""
    asked = any(PARITY in (p := Path(a).resolve(), *p.parents) for a in config.args)
    return True if collection_path == PARITY and not asked else None


@pytest.fixture(params=slotwise.targets())
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine in turn."""
    slotwise.set_target(request.param)
    assert slotwise.active_target() == request.param
    yield request.param
    slotwise.set_target(None)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores the number of threads."""
    before = slotwise.get_num_threads()
    yield
    slotwise.set_num_threads(before)
