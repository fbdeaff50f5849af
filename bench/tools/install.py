# SPDX-License-Identifier: Apache-2.0
"""``python -m bench --install-peers``: the peers in an environment of their own."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.peers.base import Peer

CHECKOUT = Path(__file__).resolve().parents[2]


def install(peers: Sequence[Peer], folder: Path, console: Console) -> int:
    """Makes (or refreshes) the environment: slotwise from this checkout, an MPI, each peer.

    What cannot be installed is reported and left out; the others are still installed.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        console.print(f"creating {folder}")
        venv.EnvBuilder(with_pip=True).create(folder)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    console.print("slotwise, from this checkout")
    # Twice: the version alone does not tell pip that the checkout has changed.
    for arguments in ([f"{CHECKOUT}[bench]"], ["--force-reinstall", "--no-deps", str(CHECKOUT)]):
        if subprocess.run([*pip, "--quiet", *arguments], check=False).returncode:
            console.print("[red]slotwise itself could not be installed[/]")
            return 1
    failed = []
    wanted = {"MPI": ("slotwise[mpi]",)} | {peer.name: peer.packages for peer in peers}
    for name, packages in wanted.items():
        if packages:
            console.print(f"{name}: {', '.join(packages)}")
            if subprocess.run([*pip, "--quiet", *packages], check=False).returncode:
                failed.append(name)
    if failed:
        console.print(f"[yellow]not installed[/]: {', '.join(failed)}")
    console.print(f"now: {python} -m bench --against ...")
    return 0
