# SPDX-License-Identifier: Apache-2.0
"""The small wrong changes of scripts/mutate.py can be made: their texts are in the tree."""

from __future__ import annotations

import pytest
from support.scripts import script

mutate = script("mutate")


def test_each_mutation_has_its_place(subtests: pytest.Subtests) -> None:
    for mutation in (*mutate.PYTHON, *mutate.CXX):
        with subtests.test(mutation.why):
            assert mutation.place().suffix in {".py", ".cc", ".h"}
            assert mutation.text != mutation.wrong
            assert all((mutate.ROOT / name).exists() for name in mutation.tests.split())
