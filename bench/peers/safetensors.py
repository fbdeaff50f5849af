# SPDX-License-Identifier: Apache-2.0
"""safetensors, by its functions for NumPy."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.work.contestant import Subject
from bench.work.state import StateWork


class Safetensors(Peer):
    name = "safetensors"
    modules = ("safetensors",)
    packages = ("safetensors",)
    distributions = ("safetensors",)
    usage = "safetensors.numpy.save_file, then fsync; load_file"

    def state(self, work: StateWork) -> Subject:
        import safetensors.numpy as library

        return work.subject(
            {
                "save": "library.save_file(arrays, path); sync(path)",
                "load": "library.load_file(path)",
            },
            ".safetensors",
            {"library": library},
            library.load_file,
        )


PEER = Safetensors()
