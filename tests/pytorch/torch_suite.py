# SPDX-License-Identifier: Apache-2.0
"""Runs PyTorch's own tests of optimizers against the optimizers of slotwise.torch.

python tests/pytorch/torch_suite.py path/to/pytorch/test [--only NAME] [--torch] [--traces]

The path is the folder test/ of PyTorch's sources, of a version near the one that is installed; the
package expecttest has to be there, too. Each class of torch.optim that has a namesake in
slotwise.torch is replaced by it, in torch.optim and in the list of optimizers that the tests run
over. The others are left out of that list, and so is the option differentiable, which
slotwise.torch refuses. What is printed is the table of docs/torch_compatibility.md. The exit status
is 1 if a test fails that is not in REFUSED.
"""

from __future__ import annotations

import argparse
import os
import sys
import unittest
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_TESTING_DEVICE_ONLY_FOR", "cpu")

import slotwise.torch as st
import torch
from torch.testing._internal import common_device_type, common_optimizers, common_utils

OURS = {
    name: getattr(st, name)
    for name in st.__all__
    if name != "Optimizer" and hasattr(torch.optim, name)
}
# What is refused on purpose, by how the name of a test begins.
REFUSED = {
    "test_forloop_goes_right_direction_contiguous_False": (
        "a parameter whose memory has gaps (a slice of another tensor) is refused by an error"
    ),
    "test_fused_error_on_params_on_meta": (
        "`fused` is ignored; a parameter that is not on the CPU is refused by another error"
    ),
}
LEFT_OUT = {
    "TestDifferentiableOptimizer": "`differentiable` is refused: a step is no part of a graph",
}
# The tests of each class as they are written, before they are repeated for each optimizer.
WRITTEN: dict[str, set[str]] = defaultdict(set)


def substitute(by_ours: bool) -> None:
    """Have the tests run over the optimizers that we have too, and these be ours."""
    listed = [info for info in common_optimizers.optim_db if info.name in OURS]
    for info in listed:
        info.supported_impls = tuple(i for i in info.supported_impls if i != "differentiable")
        if by_ours:
            info.optim_cls = OURS[info.name]
            setattr(torch.optim, info.name, info.optim_cls)
    common_optimizers.optim_db[:] = listed


def note_names(module: Any, maker: str) -> None:
    """Let a function of torch's that repeats tests note the names of what it repeats."""
    original = getattr(module, maker)

    def noting(case: type, *args: Any, **kwargs: Any) -> Any:
        WRITTEN[case.__name__] |= {name for name in vars(case) if name.startswith("test")}
        return original(case, *args, **kwargs)

    setattr(module, maker, noting)


class Results(unittest.TestResult):
    """Counts what became of the repetitions of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: dict[str, set[str]] = defaultdict(set)
        self.traces: list[str] = []

    def add(self, test: unittest.TestCase, result: str, reason: str = "") -> None:
        case, name = type(test).__name__.removesuffix("CPU"), test._testMethodName
        origins = [each for each in WRITTEN[case] if name == each or name.startswith(each + "_")]
        written = f"{case}.{max(origins, key=len, default=name)}"
        self.counts[written][result] += 1
        if reason:
            self.reasons[written].add(reason)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.add(test, "pass")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.add(test, "pass")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.add(test, "do not apply", reason)

    def addFailure(self, test: Any, err: Any) -> None:
        name = test._testMethodName
        for beginning, reason in REFUSED.items():
            if name.startswith(beginning):
                return self.add(test, "refused", reason)
        self.traces.append(f"===== {name}\n{self._exc_info_to_string(err, test)}")  # type: ignore[attr-defined]
        return self.add(test, "fail", f"{name}: {err[0].__name__}: {str(err[1]).splitlines()[0]}")

    addError = addFailure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="test/ of PyTorch's sources")
    parser.add_argument("--only", default="", help="run tests whose name has this")
    parser.add_argument("--torch", action="store_true", help="run torch's own optimizers")
    parser.add_argument("--traces", action="store_true", help="print the trace of each failure")
    args = parser.parse_args()
    sys.path.insert(0, str(args.folder))
    warnings.simplefilter("default")  # tests look for some
    substitute(by_ours=not args.torch)
    note_names(common_device_type, "instantiate_device_type_tests")
    note_names(common_utils, "instantiate_parametrized_tests")
    found = vars(__import__("test_optim"))
    cases = [
        case
        for name, case in found.items()
        if name.startswith("Test")
        and isinstance(case, type)
        and issubclass(case, unittest.TestCase)
        and case is not common_utils.TestCase
    ]
    results = Results()
    for case in cases:
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
            is_wanted = isinstance(test, unittest.TestCase) and args.only in test.id()
            if is_wanted and case.__name__ not in LEFT_OUT:
                test.run(results)
    total: Counter[str] = sum(results.counts.values(), Counter())
    print(f"torch {torch.__version__}: {', '.join(f'{n} {kind}' for kind, n in total.items())}\n")
    print("| test | result | reason |\n|---|---|---|")
    for name, counts in sorted(results.counts.items()):
        result = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
        print(f"| `{name}` | {result} | {'; '.join(sorted(results.reasons[name]))} |")
    for name, reason in LEFT_OUT.items():
        print(f"| `{name}` | does not apply | {reason} |")
    if args.traces:
        print("\n" + "\n".join(results.traces))
    return 1 if total["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
