# SPDX-License-Identifier: Apache-2.0
"""Warnings about how ranks were started: too many for the cores, or not as one job."""

from __future__ import annotations

import os
import socket
import warnings

import numpy as np

from slotwise import _runtime
from slotwise.distributed._checked import Checked

_CORES = 8192  # that a set of cores is asked about
_HOST = 256  # bytes of a name
# What launchers tell each process of how many they started.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE")


def warn_if_alone(op: str, what: str) -> None:
    """For a rank that knows of no other: did a launcher start several?"""
    for name in _SIZES:
        started = os.environ.get(name, "")
        if started.isdecimal() and int(started) > 1:
            text = f"{op}: expected {started} ranks, as {name} says, got 1: was {what} started so?"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
            return


def warn_if_crowded(comm: Checked) -> None:
    """Let one rank of each host warn if its ranks have more threads than cores."""
    own = np.zeros(1, [("host", f"S{_HOST}"), ("threads", "i8"), ("cores", "?", _CORES)])
    own["host"], own["threads"] = socket.gethostname(), _runtime.get_num_threads()
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    own["cores"][0, [core for core in cores if core < _CORES]] = True
    found = np.empty((comm.size, 1), own.dtype)
    comm.all_gather(own, found)
    (here,) = np.nonzero(found["host"][:, 0] == own["host"])
    threads = int(found["threads"][here].sum())
    count = int(found["cores"][here, 0].any(0).sum())
    if len(here) == 1 or threads <= count or comm.rank != here[0]:
        return
    text = f"{len(here)} ranks on this host have {threads} threads for {count} cores: "
    if len(here) > count:
        text += f"start at most {count} here, with SLOTWISE_NUM_THREADS=1"
    else:
        text += f"set SLOTWISE_NUM_THREADS={count // len(here)}"
    warnings.warn(text, RuntimeWarning, stacklevel=3)
