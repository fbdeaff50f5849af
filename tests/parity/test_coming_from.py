# SPDX-License-Identifier: Apache-2.0
"""Programs of other libraries, on the pages for those who come from them, agree with ours.

`make parity` has TensorFlow, both Keras and JAX, `make torch` PyTorch and FBGEMM: each runs this
file, and fails if one of its own is missing. What needs the other's is skipped, with the target
that runs it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pages import COMING_FROM, Block, blocks_of, pairs_of, require

PAIRS = [
    pytest.param(*pair, id=f"{page.stem}-{number}")
    for page in COMING_FROM
    for number, pair in enumerate(pairs_of(page))
]
SINGLE = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in COMING_FROM
    for number, block in enumerate(blocks_of(page))
    if not block.role
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_before_and_after_print_the_same(
    before: Block, after: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    require(before, after)
    before.run({})
    after.run({})


@pytest.mark.parametrize("block", SINGLE)
def test_other_blocks_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require(block)
    block.run({})
