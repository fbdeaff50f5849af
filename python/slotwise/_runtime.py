# SPDX-License-Identifier: Apache-2.0
"""Instruction sets, threads, and how the library was built."""

import operator
import os
from typing import Any, SupportsIndex

from slotwise import _arguments, _core


def targets() -> list[str]:
    """Names of the instruction sets that are built and that this CPU runs, best first.

    Every one gives the same bits; they differ in speed alone. The names are Highway's
    (``"AVX3"`` is AVX-512).

    Example:
        >>> import slotwise
        >>> slotwise.active_target() in slotwise.targets()
        True
    """
    return _core.targets()


def active_target() -> str:
    """Name of the instruction set that kernels use.

    Example:
        >>> import slotwise
        >>> slotwise.set_target(slotwise.targets()[-1])
        >>> slotwise.active_target() == slotwise.targets()[-1]
        True
        >>> slotwise.set_target(None)
    """
    return _core.active_target()


def set_target(name: str | None) -> None:
    """Make kernels use one instruction set, or with None the best one.

    The environment variable ``SLOTWISE_TARGET`` does the same at import. The choice is this
    library's own: other users of Highway in the process are not affected.

    Args:
        name: one of `targets`.

    Raises:
        ValueError: the name is unknown, or the CPU does not have that instruction set.

    Example:
        >>> import slotwise
        >>> slotwise.set_target("Z80")
        Traceback (most recent call last):
            ...
        ValueError: set_target: name: expected one of [...], got 'Z80'
    """
    if name is not None:
        if not isinstance(name, str):
            raise _arguments.refused("set_target", "name", "text or None", name)
        if name not in targets():
            raise ValueError(f"set_target: name: expected one of {targets()}, got {name!r}")
    _core.set_target(name or "")


def get_num_threads() -> int:
    """How many threads a call may use.

    The number given to `set_num_threads`, else the environment's ``SLOTWISE_NUM_THREADS``, else
    what OpenMP was told (``OMP_NUM_THREADS``, threadpoolctl), else one for each core that affinity
    and control groups allow. In a child made by ``fork`` it is 1. Small arrays are done by fewer;
    the result never depends on it.

    Example:
        >>> import slotwise
        >>> slotwise.set_num_threads(2)
        >>> slotwise.get_num_threads()
        2
        >>> slotwise.set_num_threads(None)
    """
    return _core.num_threads()


def set_num_threads(threads: SupportsIndex | None) -> None:
    """Limit calls to this many threads; None takes the limit back.

    Raises:
        TypeError: not an integer.
        ValueError: less than 1, or more than 65,536.

    Example:
        >>> import slotwise
        >>> slotwise.set_num_threads(0)
        Traceback (most recent call last):
            ...
        ValueError: set_num_threads: threads: expected 1 to 65536, got 0
    """
    _set_num_threads(threads, "set_num_threads: threads")


def _set_num_threads(threads: SupportsIndex | None, what: str) -> None:
    if threads is None:
        _core.set_num_threads(0)
        return
    try:
        count = operator.index(threads)
    except TypeError:
        got = type(threads).__name__
        raise TypeError(f"{what}: expected an integer or None, got {got}") from None
    if not 1 <= count <= 65536:
        raise ValueError(f"{what}: expected 1 to 65536, got {count}")
    _core.set_num_threads(count)


def get_config() -> dict[str, Any]:
    """How the library was built and what it uses now, as a dict.

    Example:
        >>> import slotwise
        >>> slotwise.get_config()["targets_built"]
        [...]
    """
    return {
        **_core.build_config(),
        "targets": targets(),
        "active_target": active_target(),
        "num_threads": get_num_threads(),
    }


def show_config() -> None:
    """Print `get_config`: version, compiler, Highway, instruction sets and threads.

    Example:
        >>> import slotwise
        >>> slotwise.show_config()
        slotwise ...
    """
    config = get_config()
    print(f"slotwise {config['version']}")
    linkage = f"({config['highway_linkage']})"
    rows = {
        "compiler": f"{config['compiler']}, {config['build_type']}, OpenMP {config['openmp']}",
        "Highway": f"{config['highway']} {linkage}",
        "targets built": _explained(config["targets_built"]),
        "targets here": _explained(config["targets"]),
        "active target": _explained([config["active_target"]]),
        "threads": config["num_threads"],
    }
    for name, value in rows.items():
        print(f"  {name + ':':15}{value}")


def _explained(names: list[str]) -> str:
    """Instruction sets as `show_config` prints them.

    Example:
        >>> _explained(["AVX3", "AVX2"])
        'AVX3 (AVX-512) AVX2'
    """
    return " ".join(f"{name} (AVX-512)" if name == "AVX3" else name for name in names)


def _read_environment() -> None:
    name = os.environ.get("SLOTWISE_TARGET")
    if name:
        try:
            set_target(name)
        except ValueError:
            raise ValueError(
                f"SLOTWISE_TARGET: expected one of {targets()}, got {name!r}"
            ) from None
    text = os.environ.get("SLOTWISE_NUM_THREADS")
    if text:
        try:
            threads = int(text)
        except ValueError:
            raise ValueError(f"SLOTWISE_NUM_THREADS: expected an integer, got {text!r}") from None
        _set_num_threads(threads, "SLOTWISE_NUM_THREADS")


_read_environment()
