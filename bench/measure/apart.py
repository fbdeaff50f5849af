# SPDX-License-Identifier: Apache-2.0
"""A statement timed in a process of its own, which is told what to do by JSON, a line each way.

Orders: ``threads`` starts the library, ``prepare`` makes a subject, ``sample`` and ``seconds`` run
it by so many calls at once until the seconds are over, ``value`` asks for an expression of its
names, ``state`` for its arrays in a file. The process ends when its orders do, so it does not
outlive whoever gives them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import psutil

from bench.measure.in_turn import timer
from bench.work.contestant import State, Subject

_END_S = 60.0  # in which a process ends that has closed its answers

CHECKOUT = Path(__file__).resolve().parents[2]


def on_path(*folders: str | Path) -> str:
    """PYTHONPATH for a process that is to find these folders, then this benchmark."""
    return os.pathsep.join(str(folder) for folder in (*folders, CHECKOUT))


Self = TypeVar("Self", bound="Apart")


class Apart:
    """The process, which runs a module whose main function calls ``serve``.

    Args:
        name: what an error calls it.
        module: with its arguments.
        environment: of the process.
        launcher: starts it, and maybe more of its kind, of which one has the orders and answers.
    """

    def __init__(
        self,
        name: str,
        module: Sequence[str],
        environment: Mapping[str, str],
        launcher: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.processes: list[psutil.Process] = []  # once they are all there
        self.process = subprocess.Popen(
            [*launcher, sys.executable, "-m", *module],
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
            status = self.process.wait(_END_S)
            raise RuntimeError(f"{self.name}: the process ended unexpectedly, status {status}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def sample(self, calls: int, seconds: float) -> float:
        """Seconds of a call."""
        return float(self.ask(sample=calls, seconds=seconds)["seconds"])

    def run(self, calls: int) -> float:
        """Seconds of so many calls."""
        return calls * self.sample(calls, sys.float_info.min)

    def value(self, expression: str) -> Any:
        """Of an expression of the subject's names: what JSON can say."""
        return self.ask(value=expression)["value"]

    def state(self) -> State:
        """What the subject has for its state, of one tensor."""
        with tempfile.TemporaryDirectory(prefix="slotwise-bench-") as folder:
            path = Path(folder) / "state.npz"
            self.ask(state=str(path))
            with np.load(path) as file:
                return [{name: file[name] for name in file.files}]

    def processor_time(self) -> float:
        """Seconds that it, and what it started before the first call, have computed."""
        if not self.processes:
            first = psutil.Process(self.process.pid)
            self.processes = [first, *first.children(recursive=True)]
        times = [process.cpu_times() for process in self.processes]
        return float(sum(each.user + each.system for each in times))

    def close(self) -> None:
        """Have it end, as there are no more orders."""
        self.process.communicate()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.close()


def serve(
    start: Callable[[int], dict[str, Any]],
    prepare: Callable[..., Subject],
    orders: Iterable[str] | None = None,
    meet: Callable[[], object] = lambda: None,
    is_asked: bool = True,
) -> None:
    """Carries out orders until there are no more.

    Args:
        start: given the number of threads, starts the library and says what it is.
        prepare: given the keywords of the order, makes the subject.
        orders: lines; those of standard input by default.
        meet: is called before a sample; where several processes run it, they begin together.
        is_asked: whether this process answers.
    """
    subject = Subject("", {}, lambda: [{}])
    run = timer(subject)
    for line in sys.stdin if orders is None else orders:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        if "threads" in order:
            answer = start(order["threads"])
        elif "prepare" in order:
            subject = prepare(**order["prepare"])
            run = timer(subject)
            answer = {"statement": subject.statement}
        elif "value" in order:
            answer = {"value": eval(order["value"], dict(subject.names))}
        elif "state" in order:
            arrays: dict[str, Any] = subject.state()[0]
            if is_asked:
                np.savez(order["state"], **arrays)
        else:
            meet()
            calls, spent = 0, 0.0
            while spent < order["seconds"]:
                spent += run(order["sample"])
                calls += order["sample"]
            answer = {"seconds": spent / calls}
        if is_asked:
            print(json.dumps(answer), flush=True)
