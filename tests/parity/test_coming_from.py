# SPDX-License-Identifier: Apache-2.0
"""Programs of other libraries, on the pages for those who come from them, agree with ours.

`make parity` has TensorFlow and both Keras. What needs PyTorch, JAX or FBGEMM runs where these are.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pages import COMING_FROM, Block, blocks_of, pairs_of

HERE = {"tensorflow", "tf_keras", "keras"}  # of this environment: missing, they are a failure
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


def require(block: Block) -> None:
    assert not HERE.intersection(block.missing)
    if block.missing:
        pytest.skip(f"needs {', '.join(block.missing)}")


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_before_and_after_print_the_same(
    before: Block, after: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    require(before)
    before.run({})
    if not after.missing:  # autograd, mostly: it is not beside every peer
        after.run({})


@pytest.mark.parametrize("block", SINGLE)
def test_other_blocks_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require(block)
    block.run({})
