# SPDX-License-Identifier: Apache-2.0
"""The blocks of code in pages: what they need, what they print, and which belong together."""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import itertools
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.jobs import NEEDED

ROOT = Path(__file__).parents[2]
COMING_FROM = sorted((ROOT / "docs" / "coming_from").glob("*.md"))
FENCE = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^(?:>>> |\.\.\. )?\s*(?:from (\w+)|import ([\w., ]+))", re.MULTILINE)
ROLE = re.compile(r"(Before|After)\b[^.]*:$")
NUMBER = re.compile(r"-?\d+(?:\.(\d*))?(?:e[-+]?\d+)?")
# What blocks need beyond the tests' own, and the target that installs it (FBGEMM beside the PyTorch
# that it is made for, the default one): there it must be, and runs them. Whatever else is missing
# is a failure.
RUN_BY = {
    **dict.fromkeys(("tensorflow", "tf_keras", "keras", "jax", "optax"), "make parity"),
    **dict.fromkeys(("torch", "fbgemm_gpu"), "make torch"),
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A block of Python.

    Args:
        code: its text.
        where: the page and the place on it, for messages.
        role: "before" or "after", of a pair, or "".
        printed: the block of text that follows: what this one prints, and the one before it in a
            pair. None if there is no such block.
    """

    code: str
    where: str
    role: str
    printed: str | None

    @property
    def missing(self) -> list[str]:
        """Modules that it needs and that are not installed."""
        names = {"torch"} if "slotwise.torch" in self.code else set()
        for package, several in IMPORT.findall(self.code):
            names.update(re.findall(r"(?:^|, )(\w+)", package or several))
        return sorted(name for name in names if importlib.util.find_spec(name) is None)

    def run(self, names: dict[str, Any]) -> None:
        """Runs it, and compares what it prints with what the page says."""
        if ">>> " in self.code:
            test = doctest.DocTestParser().get_doctest(self.code, names, self.where, self.where, 0)
            failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False)
            assert failed == 0
            names.update(test.globs)
            return
        output = io.StringIO()
        with contextlib.redirect_stdout(output), warnings.catch_warnings():
            if self.role == "before":  # what another library warns of is not ours to mend
                warnings.simplefilter("ignore")
            exec(compile(self.code, self.where, "exec"), names)
        if self.printed is not None:
            assert_alike(output.getvalue(), self.printed, self.where)


def assert_alike(got: str, expected: str, where: str) -> None:
    """The same words and integers; other numbers may differ by one in their last digit.

    Libraries round differently, and so may the last digit that is printed.
    """
    message = f"{where} printed\n{got}instead of\n{expected}"
    assert NUMBER.sub("#", got).split() == NUMBER.sub("#", expected).split(), message
    digits = max((len(found[1] or "") for found in NUMBER.finditer(expected)), default=0)
    for ours, theirs in zip(NUMBER.finditer(got), NUMBER.finditer(expected), strict=True):
        unit = 0 if ours[1] is theirs[1] is None else 1.01 * 10.0**-digits
        assert math.isclose(float(ours[0]), float(theirs[0]), abs_tol=unit, rel_tol=0), message


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    fences = list(FENCE.finditer(text))
    found: list[Block] = []
    for number, fence in enumerate(fences):
        if fence[1] == "text":
            continue
        lines = text[: fence.start()].rstrip().splitlines()
        word = ROLE.match(lines[-1]) if lines else None
        role = word[1].lower() if word else ""
        rest = fences[number + 1 :]
        after = rest[1:] if role == "before" else rest
        printed = after[0][2] if after and after[0][1] == "text" else None
        found.append(Block(fence[2], f"{page.name}, block {len(found)}", role, printed))
    return found


def pairs_of(page: Path) -> Iterator[tuple[Block, Block]]:
    """What a program looked like before, and what it looks like after."""
    blocks = blocks_of(page)
    for before, after in itertools.pairwise(blocks):
        if before.role == "before":
            assert after.role == "after", f"{before.where}: nothing comes after"
            assert after.printed is not None, f"{after.where}: no numbers to agree on"
            yield before, after


def require(*blocks: Block) -> None:
    """Skip, with the target that runs them, blocks that need a library of another environment.

    Raises:
        AssertionError: what is missing is to be here, or is installed by no target.
    """
    missing = sorted({name for block in blocks for name in block.missing})
    here = [name for name in missing if name not in RUN_BY or name in NEEDED]
    assert not here, f"{blocks[0].where}: expected {', '.join(here)} to be installed here"
    if missing:
        (target,) = {RUN_BY[name] for name in missing}  # what needs two targets' runs nowhere
        pytest.skip(f"{target}, which installs {' and '.join(missing)}, runs it")


def run_page(page: Path, subtests: pytest.Subtests) -> None:
    """Every block, one after the other, as a reader would.

    Blocks share a namespace, except for those of a pair: they are programs of their own.
    """
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        with subtests.test(block.where):
            require(block)
            block.run({} if block.role else names)
