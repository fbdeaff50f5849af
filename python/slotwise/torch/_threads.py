# SPDX-License-Identifier: Apache-2.0
"""Threads that our kernels share with PyTorch."""

from __future__ import annotations

from slotwise import _core


def share_pool() -> bool:
    """Let calls run on PyTorch's threads while those wait for its next operation.

    PyTorch's OpenMP threads keep their cores for some milliseconds after each operation, so that
    threads of our own would find none. When they sleep, a call has threads of its own. How many
    threads a call uses is what `slotwise.get_num_threads` says, either way. With fewer in
    ``torch.get_num_threads()``, calls have threads of their own.

    Returns:
        Whether they are shared: not on systems other than Linux, nor if PyTorch was built without
        OpenMP.

    Example:
        >>> from slotwise.torch._threads import share_pool
        >>> share_pool()
        True
    """
    return _core.share_team_of("libtorch_cpu.so")
