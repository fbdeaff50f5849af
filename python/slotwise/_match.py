# SPDX-License-Identifier: Apache-2.0
"""What of a state fits where it is loaded, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from slotwise._names import Kind


@dataclass
class Report:
    """What did not fit when state was loaded.

    Attributes:
        missing: names that the state does not have; they stay as they are.
        unexpected: names that only the state has.
        mismatched: names whose shape or dtype differs, and how.
        config: settings of the optimizer that differ, and how.
        fresh: variables that have no state there, while others have: theirs begins anew with their
            next update. That is no misfit.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything that does not fit."""
        return any((self.missing, self.unexpected, self.mismatched, self.config))

    def __str__(self) -> str:
        parts = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                parts.append(f"{what}: {', '.join(names)}")
        parts += [
            f"{name}: {how}" for name, how in (*self.mismatched.items(), *self.config.items())
        ]
        parts = parts or ["everything fits"]
        return "; ".join([*parts, f"fresh: {', '.join(self.fresh)}"] if self.fresh else parts)


class Shaped(Protocol):
    """An array, or what stands for one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


def match(given: Mapping[str, Kind], targets: Mapping[str, Shaped]) -> Report:
    """Compare the shapes and dtypes that a state has with those of arrays."""
    report = Report(
        missing=[name for name in targets if name not in given],
        unexpected=[name for name in given if name not in targets],
    )
    for name, array in targets.items():
        if name in given:
            shape, dtype = given[name]
            if (tuple(shape), dtype) != (array.shape, array.dtype):
                report.mismatched[name] = (
                    f"expected shape {array.shape} of {array.dtype}, got {tuple(shape)} of {dtype}"
                )
    return report
