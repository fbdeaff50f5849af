# SPDX-License-Identifier: Apache-2.0
"""`slotwise info`."""

from __future__ import annotations

import argparse
import json
import platform
from importlib import metadata, util
from typing import Any

import numpy as np

import slotwise
from slotwise._cli import _commands

_LONG = "How this library was built, what it uses on this machine, and what is installed beside it."
_OPTIONAL = (
    *("autograd", "h5py", "keras", "mpi4py", "safetensors"),
    *("tensorflow", "tf_keras", "torch", "tqdm"),
)


def add(commands: _commands.Commands) -> None:
    parser = _commands.command(commands, "info", run, "build, instruction sets, threads", _LONG)
    _commands.add_json(parser)


def run(given: argparse.Namespace) -> int:
    config = slotwise.get_config()
    versions = {name: _version(name) for name in _OPTIONAL}
    found = {name: version for name, version in versions.items() if version is not None}
    if given.json:
        python = {"python": platform.python_version(), "numpy": np.__version__}
        print(json.dumps({**config, **python, "optional": versions}, indent=2))
        return 0
    slotwise.show_config()
    rows = {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "found": ", ".join(f"{name} {version}" for name, version in found.items()) or "nothing",
        "not found": ", ".join(name for name in versions if name not in found) or "nothing",
    }
    for name, value in rows.items():
        print(f"  {name + ':':15}{value}")
    return 0


def _version(name: str) -> str | None:
    """Of a library, which is not imported; None if it is not there."""
    if util.find_spec(name) is None:
        return None
    distributions: Any = metadata.packages_distributions().get(name, [name])
    try:
        return metadata.version(distributions[0])
    except metadata.PackageNotFoundError:
        return "(unknown version)"
