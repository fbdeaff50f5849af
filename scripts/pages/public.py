# SPDX-License-Identifier: Apache-2.0
"""Every public name, once: what is documented, and under which names users find it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MODULES = (
    "slotwise",
    "slotwise.state",
    "slotwise.distributed",
    "slotwise.optimizers",
    "slotwise.optimizers.legacy",
    "slotwise.optimizers.schedules",
    "slotwise.raw_ops",
    "slotwise.initializers",
    "slotwise.interop",
    "slotwise.torch",
)


@dataclass(frozen=True)
class Entry:
    """One object. ``path`` is its shortest name; ``module``, the last of the modules that have it.

    So `slotwise.save` is called that, and stands among what `slotwise.state` has.
    """

    path: str
    names: tuple[str, ...]
    module: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@cache
def entries() -> list[Entry]:
    """In the order of the modules, and of their ``__all__``."""
    found: dict[object, list[str]] = {}
    homes: dict[object, str] = {}
    named: dict[object, str] = {}
    for module in MODULES:
        for name in _listed(module):
            path = f"{module}.{name}"
            real = imported(path)
            if inspect.ismodule(real) or name == "__version__":
                continue
            key: object = path if real is None else id(real)
            found.setdefault(key, []).append(path)
            homes[key] = module
            named[key] = getattr(real, "__name__", "")
    made = []
    for key, names in found.items():
        # The shortest; of several, the name that the object has itself (ops have two).
        first = min(
            names, key=lambda path: (path.count("."), path.rpartition(".")[2] != named[key])
        )
        made.append(Entry(first, tuple(names), homes[key]))
    return sorted(made, key=lambda entry: MODULES.index(entry.module))


def listed(module: str) -> list[tuple[str, Entry]]:
    """The public names of a module that are no modules, and what each means."""
    found = []
    for path, entry in _every().items():
        home, _, name = path.rpartition(".")
        if home == module:
            found.append((name, entry))
    return sorted(found, key=lambda pair: pair[0].lower())


@cache
def _every() -> dict[str, Entry]:
    return {name: entry for entry in entries() for name in entry.names}


def entry_of(name: str) -> Entry | None:
    """What a public name means, if it is one."""
    return _every().get(name)


def imported(path: str) -> Any:
    """What the path names after the import; None if PyTorch is missing or nothing has the name."""
    names = path.split(".")
    for count in range(len(names), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(names[:count]))
        except ImportError:
            continue
        for name in names[count:]:
            value = getattr(value, name, None)
        return value
    return None


def _listed(module: str) -> list[str]:
    """``__all__``, or what is defined there; of the source where it cannot be imported."""
    try:
        real = importlib.import_module(module)
    except ImportError:
        block = re.search(r"__all__ = \[(.*?)\]", source(module).read_text(), re.DOTALL)
        assert block is not None
        return re.findall(r'"(\w+)"', block[1])
    if hasattr(real, "__all__"):
        return list(real.__all__)
    return [
        name
        for name, value in vars(real).items()
        if getattr(value, "__module__", "") == module and not name.startswith("_")
    ]


def source(module: str) -> Path:
    """The file of a package that may not be importable."""
    spec = importlib.util.find_spec("slotwise")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent.joinpath(*module.split(".")[1:], "__init__.py")
