# SPDX-License-Identifier: Apache-2.0
"""What was read from another library, and what all readers need."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from slotwise import optimizers
from slotwise._cli._errors import Refused

NONE = "none"  # given as the optimizer's class: it is left out


@dataclass
class Converted:
    """What is to be saved.

    Attributes:
        variables: Variables, arrays or tensors by name.
        optimizer: with its state, if there is one.
        extra: whatever else JSON can hold.
        notes: what was left out or changed, a line each.
    """

    variables: dict[str, Any]
    optimizer: Any = None
    extra: Any = None
    notes: list[str] = field(default_factory=list)


def library(name: str) -> Any:
    """Import a library.

    Raises:
        Refused: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Refused(f"convert: expected {name} to be installed: {error}") from None


def optimizer_class(name: str) -> type[Any]:
    """A class of `slotwise.optimizers`: ``Adam``, ``legacy.Adam``.

    Raises:
        Refused: there is none of this name.
    """
    module: Any = optimizers
    if name.startswith("legacy."):
        module = optimizers.legacy
    found = getattr(module, name.removeprefix("legacy."), None)
    if not (isinstance(found, type) and hasattr(found, "description")):
        raise Refused(f"--optimizer: expected a class of slotwise.optimizers, got '{name}'")
    return found


def one_line(error: BaseException) -> str:
    """What an error says, which may be a page."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:500]
