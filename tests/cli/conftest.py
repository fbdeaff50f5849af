# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line have: the checkpoints of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`support.command_line.training` tells what is in it."""
    found = tmp_path_factory.mktemp("run")
    training(found)
    return found
