# SPDX-License-Identifier: Apache-2.0
"""A statement timed in a process of its own, which is told what to do by JSON, a line each way.

Orders: ``threads`` starts the library, ``prepare`` makes a subject, ``sample`` and ``seconds`` run
it by so many calls at once until the seconds are over. The process ends when its orders do, so it
does not outlive whoever gives them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from bench.measure.in_turn import timer
from bench.work.contestant import Subject

CHECKOUT = Path(__file__).resolve().parents[2]


def on_path(*folders: str | Path) -> str:
    """PYTHONPATH for a process that is to find these folders, then this benchmark."""
    return os.pathsep.join(str(folder) for folder in (*folders, CHECKOUT))


Self = TypeVar("Self", bound="Apart")


class Apart:
    """The process, which runs a module whose main function calls ``serve``."""

    def __init__(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.name}: the process ended unexpectedly")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def sample(self, calls: int, seconds: float) -> float:
        """Seconds of a call."""
        return float(self.ask(sample=calls, seconds=seconds)["seconds"])

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate()


def serve(start: Callable[[int], dict[str, Any]], prepare: Callable[..., Subject]) -> None:
    """Carries out orders until there are no more.

    Args:
        start: given the number of threads, starts the library and says what it is.
        prepare: given the keywords of the order, makes the subject.
    """
    run: Callable[[int], float] | None = None
    answers = sys.stdout
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        if "threads" in order:
            answer = start(order["threads"])
        elif "prepare" in order:
            run = timer(prepare(**order["prepare"]))
            run(1)
        elif run is not None:
            calls, spent = 0, 0.0
            while spent < order["seconds"]:
                spent += run(order["sample"])
                calls += order["sample"]
            answer = {"seconds": spent / calls}
        print(json.dumps(answer), file=answers, flush=True)
