# SPDX-License-Identifier: Apache-2.0
"""A program in which the last rank goes wrong, in one of the ways that there are.

    mpiexec -n 2 python -m support.rank_faults mpi kill

The other ranks exchange rows until a call raises. They say when it did, in seconds after the fault.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import numpy as np
from slotwise import distributed
from slotwise.distributed import Communicator, DistributedError

TIMEOUT = 4.0


def nothing(comm: Communicator) -> None:
    """No fault: all end together."""


def never_there(comm: Communicator) -> None:
    """It has ended before: see main."""


def exception(comm: Communicator) -> None:
    raise ValueError("no such file")


def exit_three(comm: Communicator) -> None:
    sys.exit(3)


def exit_early(comm: Communicator) -> None:
    sys.exit()


def kill(comm: Communicator) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(comm: Communicator) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def interrupt(comm: Communicator) -> None:
    signal.raise_signal(signal.SIGINT)


def abort(comm: Communicator) -> None:
    comm.abort("no more rows")
    time.sleep(1)  # the others say so before this rank ends them


def late(comm: Communicator) -> None:
    time.sleep(2 * TIMEOUT)


def other_call(comm: Communicator) -> None:
    comm.barrier()


def one_call_more(comm: Communicator) -> None:
    """After the others have ended."""
    exchange(comm, 7)
    comm.barrier()


FAULTS: dict[str, Callable[[Communicator], None]] = {
    each.__name__: each
    for each in (
        *(
            nothing,
            never_there,
            exception,
            exit_three,
            exit_early,
            kill,
            stop,
            interrupt,
            abort,
            late,
        ),
        *(other_call, one_call_more),
    )
}


def exchange(comm: Communicator, count: int) -> None:
    send = np.full((comm.size, 1000), comm.rank)
    receive = np.empty_like(send)
    for _ in range(count):
        comm.all_to_all(send, receive)
        assert receive[:, 0].tolist() == [*range(comm.size)]


def main(engine: str, name: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ranks = {os.environ.get(key) for key in ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")}
    if name == "never_there" and "1" in ranks:
        sys.exit(3)
    comm = getattr(distributed, engine)(timeout=TIMEOUT)
    exchange(comm, 3)
    if comm.rank == comm.size - 1:
        FAULTS[name](comm)
        exchange(comm, 7)
        return
    begin = time.monotonic()
    try:
        exchange(comm, 7)
    except DistributedError as error:
        print(f"rank {comm.rank} after {time.monotonic() - begin:.1f} s: {error}", flush=True)
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
