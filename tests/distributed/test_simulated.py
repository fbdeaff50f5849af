# SPDX-License-Identifier: Apache-2.0
"""What many ranks would take, by clocks of their own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from slotwise import distributed, optimizers
from slotwise.distributed import Communicator, in_threads
from support.ranks import Training


def test_messages() -> None:
    """Ten calls of 3 messages, of 2 seconds each, and of 30 bytes, at 5 bytes a second."""

    def talk(comm: Communicator) -> int:
        for _ in range(10):
            comm.all_gather(np.zeros(10, np.uint8), np.empty((comm.size, 10), np.uint8))
        return comm.rank

    found = distributed.simulate(4, talk, latency=2.0, bandwidth=5.0)
    assert found.results == [0, 1, 2, 3]
    np.testing.assert_allclose(found.seconds - found.computed.max(), 10 * (6 + 6), atol=1)
    assert found.sent.tolist() == found.received.tolist() == [300] * 4


def test_clocks() -> None:
    def talk(comm: Any) -> tuple[float, float]:
        before: float = comm.seconds
        comm.barrier()
        return before, comm.seconds

    found = distributed.simulate(3, talk, latency=4.0)
    for before, after in found.results:
        assert 0 <= before < 1 and 8 <= after < 9
    assert (found.seconds >= [after for _, after in found.results]).all()


def test_all_wait_for_the_last() -> None:
    def work(comm: Communicator) -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.02:
            pass
        comm.barrier()

    found = distributed.simulate(3, work, latency=0.0, slower={1: 100.0})
    assert (found.seconds >= 2).all()
    assert found.computed[1] > 50 * found.computed[0]
    np.testing.assert_allclose(found.seconds, found.computed[1], rtol=0.05)


def test_the_bits_are_those_of_other_ranks() -> None:
    training = Training(lambda comm: optimizers.Adagrad(0.1, sparse="lazy", comm=comm), steps=2)
    expected = in_threads(2, training.run)
    found = distributed.simulate(5, training.run)
    assert {each["digest"] for each in found.results} == {expected[0]["digest"]}
    assert found.sent.sum() == found.received.sum() > 0


def test_one_rank_sends_nothing() -> None:
    found = distributed.simulate(1, lambda comm: comm.barrier())
    assert found.sent.tolist() == [0]
    assert 0 <= found.seconds[0] < 5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"latency": -1.0}, "simulate: latency: expected a number of at least 0"),
        ({"bandwidth": 0.0}, "simulate: bandwidth: expected a number of at least 1"),
        ({"bandwidth": "fast"}, "simulate: bandwidth: expected a number"),
        ({"latency": float("nan")}, "simulate: latency"),
    ],
)
def test_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        distributed.simulate(2, lambda comm: None, **options)
    with pytest.raises(ValueError, match="simulate: ranks: expected 1 or more, got 0"):
        distributed.simulate(0, lambda comm: None)
