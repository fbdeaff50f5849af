# SPDX-License-Identifier: Apache-2.0
"""One small file per peer; whatever defines ``PEER`` in this folder takes part."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache

from bench.peers.base import Peer

# Triton, which comes with torch, compiles for GPUs only, and one process cannot load its LLVM
# beside TensorFlow's and JAX's. torch does without.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


@cache
def all_peers() -> dict[str, Peer]:
    """Every peer by name, slotwise itself not included."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name not in ("base", "slotwise"):
            peer: Peer = importlib.import_module(f"{__name__}.{module.name}").PEER
            found[peer.name] = peer
    return found
