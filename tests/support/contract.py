# SPDX-License-Identifier: Apache-2.0
"""What every communicator does: a function for each thing, which all ranks call together.

As a program it runs them in a process of MPI or of torch.distributed::

    mpiexec -n 2 python -m support.contract mpi FOLDER

A rank writes into a file of its own, named like it, a line of JSON for each: the name, and what
went wrong.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from slotwise import distributed
from slotwise.distributed import Communicator, DistributedError, _checked

TIMEOUT = 60.0
SHORT = 2.0  # for what is to be late
DTYPES = [
    *(np.dtype(kind) for kind in ("?", "b", "B", "h", "H", "i", "I", "q", "Q")),
    *(np.dtype(kind) for kind in ("e", "f", "d", "F", "D", ">f4", "S3", "M8[s]")),
    *(np.dtype(kind) for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)),
    np.dtype([("row", "i4"), ("weight", "f8")]),
]

Check = Callable[[Communicator], None]
CHECKS: dict[str, Check] = {}
LATE: set[str] = set()  # those that wait until a call is late


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def check_of_late(function: Check) -> Check:
    LATE.add(function.__name__)
    return check(function)


def message(source: int, target: int, shape: tuple[int, ...], dtype: Any = "f4") -> NDArray[Any]:
    """What a rank sends to another: any bits that there are."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    bits = np.frombuffer(np.random.default_rng([source, target]).bytes(count * kind.itemsize), "u1")
    return (bits & 1 if kind.kind == "b" else bits).view(kind).reshape(shape)


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return found.shape == expected.shape and found.tobytes() == expected.tobytes()


def joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """The rows of arrays, bit by bit: concatenate changes the order of bytes."""
    shape = (sum(len(part) if part.ndim else 1 for part in parts), *parts[0].shape[1:])
    data = bytearray(b"".join(part.tobytes() for part in parts))
    return np.frombuffer(data, parts[0].dtype).reshape(shape)


def exchange_rows(comm: Communicator, shape: tuple[int, ...], dtype: Any = "f4") -> None:
    """Of a shape, to each rank."""
    parts = [message(comm.rank, other, shape, dtype) for other in range(comm.size)]
    send = joined(parts).reshape(comm.size, *shape)
    before, receive = send.copy(), np.empty_like(send)
    comm.all_to_all(send, receive)
    assert same(send, before)
    for other in range(comm.size):
        assert same(receive[other], message(other, comm.rank, shape, dtype))


def exchange_counts(
    comm: Communicator, counts: NDArray[Any], row: tuple[int, ...] = (3,), dtype: Any = "f4"
) -> None:
    """Row q of the counts is what rank q sends to each."""
    me = comm.rank
    out, back = counts[me], counts[:, me]
    parts = [message(me, other, (int(n), *row), dtype) for other, n in enumerate(out)]
    send = joined(parts)
    receive = np.empty((int(back.sum()), *row), dtype)
    comm.all_to_all_v(send, out, receive, [int(n) for n in back])
    parts = [message(other, me, (int(n), *row), dtype) for other, n in enumerate(back)]
    assert same(receive, joined(parts))


@check
def it_is_a_communicator(comm: Communicator) -> None:
    assert isinstance(comm, Communicator)
    assert 0 <= comm.rank < comm.size
    found = np.empty(comm.size, np.int64)
    comm.all_gather(np.array(comm.rank), found)
    assert found.tolist() == [*range(comm.size)]


@check
def rows_go_to_their_ranks(comm: Communicator) -> None:
    for shape in ((), (1,), (2,), (3, 2), (2, 1, 3), (0,), (4, 0), (70_001,)):
        exchange_rows(comm, shape)


@check
def all_dtypes_travel(comm: Communicator) -> None:
    for dtype in DTYPES:
        exchange_rows(comm, (5, 2), dtype)
        counts = np.arange(comm.size**2).reshape(comm.size, comm.size)
        exchange_counts(comm, counts, (2,), dtype)
        send, found = message(comm.rank, 0, (3,), dtype), np.empty((comm.size, 3), dtype)
        comm.all_gather(send, found)
        assert all(same(found[other], message(other, 0, (3,), dtype)) for other in range(comm.size))


@check
def counts_may_be_uneven(comm: Communicator) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        counts = rng.integers(0, 9, (comm.size, comm.size)) * rng.integers(0, 2, (comm.size, 1))
        exchange_counts(comm, counts)
        exchange_counts(comm, counts, ())
        exchange_counts(comm, counts, (2, 0))
        exchange_counts(comm, counts, (2, 1, 3), "f8")


@check
def counts_may_be_nothing(comm: Communicator) -> None:
    counts = np.zeros((comm.size, comm.size), np.int64)
    exchange_counts(comm, counts)
    counts[0, -1] = 5  # of one rank alone
    exchange_counts(comm, counts)


@check
def counts_may_be_large(comm: Communicator) -> None:
    counts = np.zeros((comm.size, comm.size), np.int64)
    counts[0, -1], counts[-1, 0], counts[-1, -1] = 100_003, 7, 1
    exchange_counts(comm, counts, (16,))


@check
def messages_are_cut(comm: Communicator) -> None:
    """Those that are too long for an engine: here, a few bytes are."""
    with short_pieces(1000):
        for size in (249, 250, 251, 500, 501, 12_345):
            exchange_rows(comm, (size,))
            counts = np.full((comm.size, comm.size), size)
            counts[0] = 3
            exchange_counts(comm, counts, (), "u1")


@contextmanager
def short_pieces(size: int) -> Iterator[None]:
    """Let messages have so many bytes at most."""
    before, _checked.PIECE = 1 << 28, size
    yield
    _checked.PIECE = before


@check
def all_gather_what_one_has(comm: Communicator) -> None:
    for shape in ((), (1,), (0,), (3, 2), (50_001,)):
        found = np.empty((comm.size, *shape), np.float32)
        comm.all_gather(message(comm.rank, 7, shape), found)
        assert all(same(found[other], message(other, 7, shape)) for other in range(comm.size))


@check
def nobody_passes_a_barrier_early(comm: Communicator) -> None:
    for late in range(comm.size):
        time.sleep(0.02 * (comm.rank == late))
        times = np.empty((comm.size, 2))
        before = time.monotonic()
        comm.barrier()
        comm.all_gather(np.array([before, time.monotonic()]), times)
        assert times[:, 1].min() >= times[:, 0].max()


@check
def many_rounds_stay_in_step(comm: Communicator) -> None:
    """What was sent may be changed at once, by the fast and by the slow."""
    rng = np.random.default_rng(comm.rank)
    send, receive = np.empty((comm.size, 2)), np.empty((comm.size, 2))
    for number in range(200):
        send[...] = comm.rank, number
        comm.all_to_all(send, receive)
        send[...] = np.nan
        assert receive.tolist() == [[other, number] for other in range(comm.size)]
        if rng.random() < 0.02:
            time.sleep(0.002)
        if number % 10 == 0:
            comm.barrier()
            comm.all_gather(np.array(number), found := np.empty(comm.size, np.int64))
            assert (found == number).all()


@check
def flags_of_any_rank(comm: Communicator) -> None:
    assert distributed.any(comm, False) is False
    assert distributed.any(comm, True) is True
    for one in range(comm.size):
        assert distributed.any(comm, np.bool_(comm.rank == one)) is True


@check
def wrong_arguments_harm_nothing(comm: Communicator) -> None:
    size = comm.size
    good, ones = np.zeros((size, 4), np.float32), [1] * size
    far = [*ones[:-1], 2]
    read_only = good.copy()
    read_only.flags.writeable = False
    of_rows: list[tuple[type[Exception], str, tuple[Any, ...]]] = [
        (TypeError, "send: expected an array, got", ([0], good)),
        (ValueError, "send: expected a C-contiguous array", (np.zeros((size, 8))[:, ::2], good)),
        (ValueError, "receive: expected a C-contiguous array", (good, np.zeros((size, 8))[:, ::2])),
        (TypeError, "send: expected a dtype without objects", (good.astype(object), good)),
        (TypeError, "receive: expected dtype float32, got int32", (good, good.astype("i4"))),
        (ValueError, "receive: expected an array that may be written", (good, read_only)),
        (ValueError, "receive: expected memory of its own", (good, good)),
        (ValueError, r"send: expected \d rows", (np.zeros((size + 1, 4), "f4"), good.copy())),
        (ValueError, r"send: expected \d rows", (np.zeros((), "f4"), good.copy())),
        (ValueError, r"receive: expected \d rows", (good, np.zeros((size + 1, 4), "f4"))),
        (ValueError, "receive: expected the shape of send", (good, np.zeros((size, 5), "f4"))),
    ]
    for error, text, arguments in of_rows:
        with pytest.raises(error, match=f"^all_to_all: {text}"):
            comm.all_to_all(*arguments)
    of_counts: list[tuple[type[Exception], str, tuple[Any, ...]]] = [
        (ValueError, "send: expected rows", (np.zeros((), "f4"), ones, good, ones)),
        (ValueError, "receive: expected rows of the shape", (good, ones, good[:, :3].copy(), ones)),
        (TypeError, "send_counts: expected integers", (good, [1.5] * size, good.copy(), ones)),
        (TypeError, "receive_counts: expected integers", (good, ones, good.copy(), None)),
        (ValueError, "send_counts: expected a count >= 0", (good, [*ones, 0], good.copy(), ones)),
        (ValueError, "receive_counts: expected a count >= 0", (good, ones, good.copy(), ones[1:])),
        (ValueError, "send_counts: expected a sum of", (good, far, good.copy(), ones)),
        (ValueError, "receive_counts: expected a sum of", (good, ones, good.copy(), far)),
    ]
    for error, text, arguments in of_counts:
        with pytest.raises(error, match=f"^all_to_all_v: {text}"):
            comm.all_to_all_v(*arguments)
    own = [int(other == comm.rank) for other in range(size)]
    with pytest.raises(ValueError, match=r"^all_to_all_v: receive_counts: expected 1 of this rank"):
        comm.all_to_all_v(good[:1], own, good[:0].copy(), [0] * size)
    with pytest.raises(ValueError, match=r"^all_gather: receive: expected the shape"):
        comm.all_gather(good, good.copy())
    with pytest.raises(TypeError, match=r"^any: comm: expected a communicator, got 3"):
        distributed.any(3, True)
    exchange_rows(comm, (4,))


@check
def an_aborted_rank_is_named_by_all(comm: Communicator) -> None:
    last = comm.size - 1
    if comm.rank == last:
        comm.abort("no more rows of 'ä'" + 999 * " and a name that is no text: \udcff")
    for call in (comm.barrier, lambda: exchange_rows(comm, (2,)), comm.barrier):
        with pytest.raises(DistributedError, match=f"rank {last}: no more rows of 'ä'"):
            call()


@check
def a_failure_does_not_reach_the_call_before(comm: Communicator) -> None:
    for _ in range(20):
        comm.barrier()
    time.sleep(0.05 * (comm.rank == 1))  # the others sleep by now
    comm.barrier()
    if comm.rank == 0:
        comm.abort("enough")
    with pytest.raises(DistributedError, match=r"rank 0(: enough| has failed)"):
        comm.barrier()


@check
def ranks_in_other_calls_raise(comm: Communicator) -> None:
    if comm.size > 1:
        with pytest.raises(DistributedError, match=r"expected (barrier|all_gather) on rank \d too"):
            comm.barrier() if comm.rank == 1 else distributed.any(comm, True)
        with pytest.raises(DistributedError, match="too, got"):
            comm.barrier()


@check
def ranks_that_send_more_raise(comm: Communicator) -> None:
    ranks_with_other_counts_raise(comm, -1)


@check
def ranks_that_send_less_raise(comm: Communicator) -> None:
    ranks_with_other_counts_raise(comm, 1)


@check
def ranks_that_send_much_more_raise(comm: Communicator) -> None:
    """Nobody waits for ever to get rid of what the other does not take."""
    ranks_with_other_counts_raise(comm, -1, (100_000,))


def ranks_with_other_counts_raise(
    comm: Communicator, more: int, row: tuple[int, ...] = (3,)
) -> None:
    """All of them in the end, if not at once: those who get what they expect go on."""
    counts = np.full((comm.size, comm.size), 3)
    if comm.rank == 0:
        counts[1:, 0] += more
    if comm.size > 1:
        with pytest.raises(
            DistributedError, match=r"rank 0(: expected rank \d to send in| has failed)"
        ):
            exchange_counts(comm, counts, row)
            comm.barrier()


@check_of_late
def a_rank_that_is_late_is_named(comm: Communicator) -> None:
    """All the others wait for it, no longer than agreed, and none forgets."""
    if comm.size == 1:
        return
    if comm.rank == 1:
        time.sleep(2 * SHORT)
    else:
        begin = time.monotonic()
        with pytest.raises(DistributedError, match=r"waited 2 s for rank 1 in barrier"):
            comm.barrier()
        assert time.monotonic() - begin < 1.9 * SHORT
    with pytest.raises(
        DistributedError, match=r"waited 2 s for rank 1 in barrier|rank 0 has failed"
    ):
        comm.barrier()  # in time, for the rank that is late
        comm.barrier()


def main(engine: str, folder: str) -> None:
    file = None
    for name, function in CHECKS.items():
        comm = getattr(distributed, engine)(timeout=TIMEOUT)
        file = file or (Path(folder) / str(comm.rank)).open("w")
        if name in LATE:
            comm.barrier()  # they come from other checks
            comm = getattr(distributed, engine)(timeout=SHORT)
        try:
            function(comm)
            problem = ""
        except BaseException:
            problem = traceback.format_exc()
        print(json.dumps([name, problem]), file=file, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
