# SPDX-License-Identifier: Apache-2.0
"""The work on ranks: a step on a table that is spread over them, and its state on disk.

``RanksWork`` says what is done. ``here`` does it, on each of the ranks; what they share beside the
table is a communicator of mpi4py, if they are processes of MPI.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.work.base import DTYPES, PERIOD, Array, Work, drawn, filled
from bench.work.contestant import State, Subject
from bench.work.rows import SPREAD, Ids
from bench.work.state import evict

STEP, SIMULATED, SAVE, RESTORE = ("step", "simulated", "save", "restore")

# What moves the rows: nothing, as there are no ranks; slotwise on an engine; torch's operations, to
# tables of torch's or of FBGEMM's.
WITHOUT, LOCAL, MPI, GLOO = ("without ranks", "local", "mpi", "gloo")
TORCH, FBGEMM = _OF_TORCH = ("torch", "fbgemm")

WIDTH, ZIPF, BATCHES = 64, 1.2, 4
RATE, ACCUMULATOR = 2.0**-3, 2.0**-3
_PERIOD_OF_ROWS = 1021  # a prime: neighbours, and rows that share a rank, begin with other values

_NETWORK_BYTES, _SMALL, _TIMES = 2 << 20, (8, 8), 100  # of the messages that measure a network


@dataclass(frozen=True, kw_only=True)
class RanksWork(Work):
    """A call on a table of ``rows`` in all, by ``count`` ids of each rank.

    ``is_spread``: whether the most frequent ids are spread over the table; else they come first.
    """

    call: str
    rows: int
    count: int
    ranks: int = 1
    engine: str = MPI
    merge: str = "exact"
    is_spread: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> RanksWork:
        """The work that ``given`` is of."""
        return cls(dtype=DTYPES["float32"], **given)

    @property
    def given(self) -> dict[str, Any]:
        """What another process makes this work of."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "dtype"}

    @property
    def needs_mpi(self) -> bool:
        return self.engine in (MPI, GLOO, *_OF_TORCH) and self.call != SIMULATED

    @property
    def needs_torch(self) -> bool:
        return self.engine in (GLOO, *_OF_TORCH)

    @property
    def bytes_needed(self) -> int:
        """Memory of ranks that are threads: the table, and a few arrays of each rank's batch."""
        return 2 * self.dtype.itemsize * WIDTH * (self.rows + 2 * self.count * self.ranks)

    @property
    def bytes_moved(self) -> int:
        """The table and its accumulators; of a step, rows that are found and rows of gradients."""
        rows = self.rows if self.call in (SAVE, RESTORE) else self.count * self.ranks
        return 2 * rows * WIDTH * self.dtype.itemsize

    @property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        return {}

    @property
    def tolerance(self) -> float:
        """Thousands of equal ids are summed in another order."""
        return 1e-5

    @property
    def facts(self) -> dict[str, Any]:
        ids = {} if self.call in (SAVE, RESTORE) else {"ids": self.count * self.ranks}
        return {**ids, "ranks": self.ranks, "engine": self.engine, "merge": self.merge}

    def ids(self, rank: int, batch: int) -> Ids:
        rng = np.random.default_rng([self.seed, rank, batch])
        found: Ids = (rng.zipf(ZIPF, self.count) - 1) % self.rows
        return found * SPREAD % self.rows if self.is_spread else found

    def batches(self, rank: int) -> list[Ids]:
        """What a rank goes through, again and again."""
        return [self.ids(rank, batch) for batch in range(BATCHES)]

    def gradient(self, rank: int) -> Array:
        """Of the rows of each batch. It has one sign: a sum that cancels would depend on order."""
        size = self.count * WIDTH
        values = drawn(self.seed, rank, min(size, PERIOD), positive=True).astype(self.dtype)
        return filled(values, size).reshape(-1, WIDTH)

    @cached_property
    def seen(self) -> Ids:
        """The rows of the first batch, of all ranks, and their neighbours."""
        ids = np.concatenate([self.ids(rank, 0) for rank in range(self.ranks)])
        return np.unique(np.concatenate([ids, (ids + 1) % self.rows]))

    def before(self, name: str, part: slice) -> Array:
        flat = start("", self.seen[part.start // WIDTH : -(-part.stop // WIDTH)], (WIDTH,)).ravel()
        first = part.start % WIDTH
        return flat[first : first + part.stop - part.start]

    def expected(self) -> State:
        """The rows that are compared after the first step, in float64 until the end."""
        sums = np.zeros((len(self.seen), WIDTH))
        for rank in range(self.ranks):
            places = np.searchsorted(self.seen, self.ids(rank, 0))
            np.add.at(sums, places, self.gradient(rank).astype(np.float64))
        change = RATE * sums / np.sqrt(ACCUMULATOR + sums**2)
        return [{"var": (start("", self.seen, (WIDTH,)) - change).astype(self.dtype)}]


def start(name: str, rows: Ids, shape: Sequence[int], dtype: Any = np.float32) -> Array:
    """What rows begin with: an initializer of slotwise's."""
    values = ((rows % _PERIOD_OF_ROWS + 1) / 1024).astype(dtype)
    return np.broadcast_to(values.reshape(-1, *[1] * len(shape)), (len(rows), *shape))


def here(work: RanksWork, job: Any) -> Subject:
    """What one rank runs. ``job``: mpi4py's communicator, None without MPI."""
    if work.call == SIMULATED:
        statement = "distributed.simulate(ranks, train, latency=latency, bandwidth=bandwidth)"
        names = {"simulated": lambda **how: _simulated(work, **how)}
        return Subject(statement, names, lambda: [{}])
    if work.engine == WITHOUT:
        return _without_ranks(work)
    if work.engine in _OF_TORCH:
        from bench.work.torch_ranks import row_wise

        return row_wise(work, job)
    subject = _sharded(work, Counted(_communicator(work.engine, job)), job)
    return subject if work.call == STEP else _on_disk(work, subject)


def _communicator(engine: str, job: Any) -> Any:
    from slotwise import distributed

    if engine == GLOO:
        from bench.work.torch_ranks import join

        join(job)
    return getattr(distributed, {GLOO: "torch"}.get(engine, engine))()


def _adagrad(**options: Any) -> Any:
    from slotwise import optimizers

    return optimizers.Adagrad(
        RATE, initial_accumulator_value=ACCUMULATOR, epsilon=0.0, sparse="lazy", **options
    )


def _without_ranks(work: RanksWork) -> Subject:
    import slotwise

    shape = (work.rows, WIDTH)
    table = slotwise.Variable(slotwise.zeros(shape), name="emb")
    table.value[...] = start("", np.arange(work.rows), (WIDTH,))
    names = {
        "slotwise": slotwise,
        "batches": cycle(work.batches(0)),
        "g": work.gradient(0),
        "emb": table,
        "opt": _adagrad(),
    }
    statement = (
        "ids = next(batches); rows = slotwise.gather(emb.value, ids); "
        "opt.apply_gradients([(slotwise.IndexedSlices(g, ids, emb.shape), emb)])"
    )
    return Subject(statement, names, lambda: [{"var": table.value[work.seen]}])


class Counted:
    """A communicator that counts the bytes that go to other ranks, and the seconds of its calls."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.sent, self.seconds = 0, list[float]()

    def _timed(self, call: Callable[..., None], *arguments: Any) -> None:
        begin = time.perf_counter()
        call(*arguments)
        self.seconds.append(time.perf_counter() - begin)

    def all_to_all(self, send: Array, receive: Array) -> None:
        self.sent += send.nbytes - send[self.rank].nbytes
        self._timed(self.comm.all_to_all, send, receive)

    def all_to_all_v(
        self, send: Array, send_counts: Sequence[int], receive: Array, receive_counts: Sequence[int]
    ) -> None:
        self.sent += send.nbytes - send[: send_counts[self.rank]].nbytes
        self._timed(self.comm.all_to_all_v, send, send_counts, receive, receive_counts)

    def all_gather(self, send: Array, receive: Array) -> None:
        self.sent += send.nbytes * (self.size - 1)
        self._timed(self.comm.all_gather, send, receive)

    def barrier(self) -> None:
        self._timed(self.comm.barrier)

    def abort(self, reason: str) -> None:
        self.comm.abort(reason)


def _table(work: RanksWork, comm: Any) -> Any:
    import slotwise

    merge: Any = work.merge
    shape = (work.rows, WIDTH)
    return slotwise.ShardedTable(shape, name="emb", comm=comm, initializer=start, merge=merge)


def _sharded(work: RanksWork, comm: Counted, job: Any) -> Subject:
    emb, opt, g = _table(work, comm), _adagrad(comm=comm), work.gradient(comm.rank)
    batches: Iterator[Ids] = cycle(work.batches(comm.rank))
    statement = "found = emb.lookup(next(batches)); opt.apply_gradients([(found.gradient(g), emb)])"
    names: dict[str, Any] = {"emb": emb, "opt": opt, "g": g, "batches": batches}
    if job is not None:
        statement += "; meet()"
        names["meet"] = job.Barrier
    code = compile(statement, "step", "exec")

    def exchanged() -> dict[str, float]:
        """What goes to other ranks in a step, and how long that takes, over all batches.

        Of each call, the rank that came last tells how long it takes; what the others took more
        they waited.
        """
        taken, waited, sent = [], [], 0
        for _ in range(2 * BATCHES):
            comm.sent, comm.seconds = 0, []
            exec(code, dict(names))
            every = job.allgather((comm.sent, comm.seconds))
            seconds = np.array([each for _, each in every])
            taken.append(float(seconds.min(0).sum()))
            waited.append(float(seconds.sum(1).mean()) - taken[-1])
            sent += sum(each for each, _ in every)
        return {
            "exchange": median(taken),
            "waiting": median(waited),
            "sent": sent / (2 * BATCHES),
            "unmerged": _unmerged(work, emb.placement, comm.size),
        }

    names["exchanged"] = exchanged
    names["network"] = lambda: network(comm.comm)
    return Subject(statement, names, lambda: [{"var": emb.to_array(work.seen)}])


def _unmerged(work: RanksWork, placement: Any, ranks: int) -> float:
    """Bytes of a step if each id were sent, its row sent back and its gradient sent."""
    others = 0
    for rank in range(ranks):
        for ids in work.batches(rank):
            owners, _ = placement.owners_and_places(ids)
            others += int((owners != rank).sum())
    return others / BATCHES * (8 + 2 * WIDTH * work.dtype.itemsize)


def network(comm: Any) -> dict[str, float]:
    """Latency and bandwidth of an engine, as the model of ``simulate`` has them.

    Rows are received into new arrays, as tables receive them.
    """

    def best(call: Callable[[], object]) -> float:
        taken = []
        for _ in range(_TIMES):
            comm.barrier()
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
        return min(taken)

    others, counts = comm.size - 1, [_NETWORK_BYTES] * comm.size
    counts[comm.rank] = 0  # what a rank has for itself, it copies: that counts as computing
    small, large = np.zeros((comm.size, *_SMALL)), np.zeros(sum(counts), np.uint8)
    latency = best(lambda: comm.all_to_all(small, np.empty_like(small))) / others
    moved = best(lambda: comm.all_to_all_v(large, counts, np.empty_like(large), counts))
    bandwidth = others * _NETWORK_BYTES / (moved - others * latency)
    return {"latency": latency, "bandwidth": bandwidth}


def _simulated(work: RanksWork, latency: float, bandwidth: float, steps: int) -> dict[str, Any]:
    """Steps of ranks that are threads: seconds of each by their clocks, and what each rank did."""
    from slotwise import distributed

    g = work.gradient(0)  # the same for all: they would not fit into one machine

    def train(comm: Any) -> tuple[list[float], dict[str, list[int]]]:
        emb, opt = _table(work, comm), _adagrad(comm=comm)
        ends, batches = [], cycle(work.batches(comm.rank))
        for _ in range(BATCHES + steps):  # the first ones touch rows for the first time
            found = emb.lookup(next(batches))
            opt.apply_gradients([(found.gradient(g), emb)])
            del found  # else the next ones are there too, of all ranks
            ends.append(comm.seconds)
        return ends[BATCHES - 1 :], emb.balance()

    found = distributed.simulate(
        work.ranks, train, latency=latency, bandwidth=bandwidth, timeout=600.0
    )
    ends = np.array([each for each, _ in found.results])
    balance = found.results[0][1]
    return {
        "seconds": np.diff(ends.max(0)).tolist(),
        "rows_by_rank": balance["rows"],
        "ids_by_rank": balance["ids"],
        "bytes_by_rank": np.maximum(found.sent, found.received).tolist(),
    }


def _on_disk(work: RanksWork, stepped: Subject) -> Subject:
    """Saving the table and its accumulators, or loading them into those that are there."""
    import slotwise

    emb, opt, batches, g = (stepped.names[name] for name in ("emb", "opt", "batches", "g"))
    opt.apply_gradients([(emb.lookup(next(batches)).gradient(g), emb)])  # makes the accumulators
    statements = {
        SAVE: "slotwise.save(path, optimizer=opt, variables=[emb])",
        RESTORE: "forget(); slotwise.load(path, optimizer=opt, variables=[emb])",
    }
    names: dict[str, Any] = {"slotwise": slotwise, "emb": emb, "opt": opt, "digest": emb.digest}

    def forget() -> None:
        """Have the system forget what it keeps of the files."""
        if emb.comm.rank == 0:
            evict(names["path"])
        emb.comm.barrier()

    def load() -> None:
        """Into a table of zeros."""
        emb.local.value[...] = 0
        exec(statements[RESTORE], dict(names))

    names |= {"forget": forget, "load": load, "use": lambda path: names.update(path=Path(path))}
    return Subject(statements[work.call], names, lambda: [{}])
