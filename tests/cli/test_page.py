# SPDX-License-Identifier: Apache-2.0
"""What docs/command_line.md shows is what the commands print."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from support.command_line import run

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checker, seen = doctest.OutputChecker(), 0
    for kind, block in BLOCK.findall(PAGE.read_text()):
        if kind == "python":
            test = doctest.DocTestParser().get_doctest(block, {}, PAGE.name, str(PAGE), 0)
            assert doctest.DocTestRunner(optionflags=FLAGS).run(test).failed == 0
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, expected = part.split("\n", 1)
            program, *arguments = shlex.split(command)
            assert program == "slotwise"
            found = run(*arguments).stdout
            assert checker.check_output(expected, found, FLAGS), f"{command}\n{found}"
            seen += 1
    assert seen == 10


def test_the_table_of_exit_codes() -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    text = run("--help").stdout.split("exit codes:")[1]
    assert re.findall(r"^  (\d+) ", text, re.MULTILINE) == codes == ["0", "1", "2", "130", "141"]
