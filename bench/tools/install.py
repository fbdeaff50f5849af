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
    """Makes (or refreshes) the environment: slotwise from this checkout, then each peer.

    A peer that cannot be installed is reported and left out; the others are still installed.
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
    for peer in peers:
        if peer.packages:
            console.print(f"{peer.name}: {', '.join(peer.packages)}")
            if subprocess.run([*pip, "--quiet", *peer.packages], check=False).returncode:
                failed.append(peer.name)
    if failed:
        console.print(f"[yellow]not installed[/]: {', '.join(failed)}")
    console.print(f"now: {python} -m bench --against ...")
    return 0
