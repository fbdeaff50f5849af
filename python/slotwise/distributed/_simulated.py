# SPDX-License-Identifier: Apache-2.0
"""Ranks that are threads, with a clock each that runs as if they were machines in a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments
from slotwise.distributed._checked import Bytes
from slotwise.distributed._threads import Result, ThreadRank, World, run


@dataclass(frozen=True)
class Simulation(Generic[Result]):
    """What many ranks would take.

    Attributes:
        results: of each rank.
        seconds: until each has ended.
        computed: of these, those that it computed in.
        sent, received: bytes that went to other ranks, and came from them.
    """

    results: list[Result]
    seconds: NDArray[np.float64]
    computed: NDArray[np.float64]
    sent: NDArray[np.int64]
    received: NDArray[np.int64]


@dataclass
class _Network:
    """What a message takes, and where each rank's clock is."""

    ranks: int
    latency: float
    bandwidth: float
    slower: Mapping[int, float]
    clocks: list[list[float]] = field(init=False)  # at the start of a call, for every other call

    def __post_init__(self) -> None:
        self.clocks = [[0.0] * self.ranks for _ in range(2)]
        self.seconds, self.computed = np.zeros(self.ranks), np.zeros(self.ranks)
        self.sent, self.received = (np.zeros(self.ranks, np.int64) for _ in range(2))


class _SimulatedRank(ThreadRank):
    def __init__(self, network: _Network, world: World, rank: int) -> None:
        super().__init__(world, rank)
        self._network, self._calls = network, 0
        self._since = time.thread_time()

    @property
    def seconds(self) -> float:
        """What its clock shows."""
        self.tick()
        return float(self._network.seconds[self.rank])

    def _exchange(self, call: str, send: list[Bytes], receive: list[Bytes]) -> None:
        network = self._network
        self.tick()
        clocks = network.clocks[self._calls % 2]  # nobody is two calls ahead
        self._calls += 1
        clocks[self.rank] = float(network.seconds[self.rank])
        super()._exchange(call, send, receive)
        sent = sum(len(send[other]) for other in self._others)
        received = sum(len(receive[other]) for other in self._others)
        network.sent[self.rank] += sent
        network.received[self.rank] += received
        moved = len(self._others) * network.latency + max(sent, received) / network.bandwidth
        network.seconds[self.rank] = max(clocks) + moved
        self._since = time.thread_time()

    def tick(self) -> None:
        """Let the clock run by what was computed since the last call."""
        network = self._network
        spent = (time.thread_time() - self._since) * network.slower.get(self.rank, 1.0)
        network.seconds[self.rank] += spent
        network.computed[self.rank] += spent
        self._since = time.thread_time()


def simulate(
    ranks: int,
    function: Callable[..., Result],
    *arguments: Any,
    latency: float = 15e-6,
    bandwidth: float = 2.5e9,
    slower: Mapping[int, float] | None = None,
    timeout: float = 600.0,
) -> Simulation[Result]:
    """Run ``function(comm, *arguments)`` on many ranks, and tell what machines would take for it.

    Ranks are threads of this process. What one computes is measured as its processor time; what a
    call takes is computed:

        until the last rank has called + (ranks - 1) * latency + bytes / bandwidth

    with the bytes that the rank sends or receives, whichever are more. ``comm.seconds`` is what the
    rank's clock shows. Call ``slotwise.set_num_threads(1)`` before, so that kernels run on the
    ranks' own threads.

    Args:
        ranks: how many.
        function: what each runs.
        arguments: passed on.
        latency: seconds that a message takes beside its bytes.
        bandwidth: bytes per second that a rank sends, and as many that it receives.
        slower: of ranks, how many times as long they compute.
        timeout: real seconds that a rank waits for the others in a call.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import numpy as np
        >>> from slotwise import distributed
        >>> def gather(comm):
        ...     comm.all_gather(np.zeros(1000), np.empty((comm.size, 1000)))
        >>> found = distributed.simulate(4, gather, latency=1.0, bandwidth=24_000.0)
        >>> found.sent.tolist(), found.seconds.round().tolist()
        ([24000, 24000, 24000, 24000], [4.0, 4.0, 4.0, 4.0])
    """
    op = "simulate"
    for name, value, least in (("latency", latency, 0.0), ("bandwidth", bandwidth, 1.0)):
        number = _arguments.converted(op, name, "a number", value, float)
        if not least <= number < float("inf"):
            raise ValueError(f"{op}: {name}: expected a number of at least {least}, got {value}")
    count = _arguments.index_of(op, "ranks", ranks)
    network = _Network(max(1, count), float(latency), float(bandwidth), dict(slower or {}))

    def timed(comm: _SimulatedRank) -> Result:
        result = function(comm, *arguments)
        comm.tick()
        return result

    def make(world: World, rank: int) -> _SimulatedRank:
        return _SimulatedRank(network, world, rank)

    results = run(op, count, make, timed, (), timeout)
    return Simulation(results, network.seconds, network.computed, network.sent, network.received)
