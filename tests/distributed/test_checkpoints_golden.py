# SPDX-License-Identifier: Apache-2.0
"""State files of version 2 are read, to the bit, and written as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from golden import make_parts_golden
from golden.make_parts_golden import FOLDER, changed, wholes
from slotwise import distributed
from slotwise.state import digests
from support.spread import chunk_of, even

CHUNKS = "a9694eb8e5aef9e4"
DIGESTS = {
    "base": {"w": "ecc2147ef8dbe947", "emb": "a84b34dab3a4e829", "chunks": CHUNKS},
    "delta": {
        **{"w": "77d713277f89d168", "emb": "8d48b424e9b14b0c", "chunks": CHUNKS},
        "emb@rows": "6d917aa3715f110e",
    },
}


def test_one_process() -> None:
    base, both = (
        slotwise.load(FOLDER / "base", deltas=deltas) for deltas in ([], [FOLDER / "delta"])
    )
    assert base.extra == {"epoch": 3}
    for state, expected in ((base, wholes()), (both, changed())):
        for name, x in expected.items():
            assert state.arrays[name].dtype == x.dtype
            np.testing.assert_array_equal(state.arrays[name], x)


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_ranks(ranks: int) -> None:
    def load(comm: Any) -> None:
        whole = changed()
        emb, w = even(comm, whole["emb"] * 0), np.zeros(4)
        chunks = chunk_of(comm, whole["chunks"] * 0)
        state = {"emb": emb, "w": w, "chunks": chunks}
        slotwise.load(FOLDER / "base", deltas=[FOLDER / "delta"], variables=state)
        np.testing.assert_array_equal(emb.local.value, whole["emb"][emb.rows])
        np.testing.assert_array_equal(w, whole["w"])
        np.testing.assert_array_equal(chunks, chunk_of(comm, whole["chunks"]))

    distributed.in_threads(ranks, load)


@pytest.mark.parametrize("ranks", [1, 4])
def test_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    monkeypatch.setattr(make_parts_golden, "FOLDER", tmp_path)
    distributed.in_threads(ranks, make_parts_golden.save)
    for name, expected in DIGESTS.items():
        assert digests(FOLDER / name) == digests(tmp_path / name) == expected
