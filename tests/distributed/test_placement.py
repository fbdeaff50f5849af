# SPDX-License-Identifier: Apache-2.0
"""Which row lives where."""

from __future__ import annotations

import numpy as np
import pytest
from slotwise.distributed._placement import BUCKETS, Placement, chunk, cut

ROWS = (0, 1, 5, BUCKETS - 1, BUCKETS, BUCKETS + 1, 10_000)
RANKS = (1, 2, 3, 7, 16, 64)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("is_even", [True, False])
def test_every_row_has_one_place(rows: int, ranks: int, is_even: bool) -> None:
    owners = np.random.default_rng(ranks).integers(0, ranks, BUCKETS)
    placement = Placement.even(rows, ranks) if is_even else Placement(rows, owners, ranks)
    numbers = np.arange(rows)
    places = placement.places(numbers)
    assert (np.sort(places) == numbers).all()
    assert (placement.rows_at(places) == numbers).all()
    owner, local = placement.owners_and_places(numbers)
    for rank in range(ranks):
        own, here = places[owner == rank], local[owner == rank]
        assert (np.sort(here) == np.arange(placement.rows_of(rank))).all()
        runs = placement.runs(rank)
        assert sum(run.count for run in runs) == own.size
        assert (np.diff([run.begin for run in runs]) > 0).all()
        if is_even:
            assert len(runs) <= 1
        for run in runs:
            inside = (own >= run.begin) & (own < run.begin + run.count)
            assert (here[inside] - run.local == own[inside] - run.begin).all()


def test_neighbours_are_far_apart() -> None:
    owners, _ = Placement.even(1_000_000, 4).owners_and_places(np.arange(16))
    assert np.bincount(owners).tolist() == [4, 4, 4, 4]


def test_stored_order_does_not_depend_on_ranks() -> None:
    numbers = np.arange(9_999)
    expected = Placement.even(9_999, 1).places(numbers)
    assert all((Placement.even(9_999, ranks).places(numbers) == expected).all() for ranks in RANKS)


@pytest.mark.parametrize("count", [0, 1, 7, 64])
@pytest.mark.parametrize("ranks", RANKS)
def test_chunks_cover_all(count: int, ranks: int) -> None:
    runs = [chunk(count, rank, ranks) for rank in range(ranks)]
    covered = [place for run in runs for place in range(run.begin, run.begin + run.count)]
    assert covered == list(range(count))
    assert max(run.count for run in runs) <= -(-count // ranks)


def test_cut() -> None:
    runs = Placement.even(BUCKETS, 4).runs(1)
    assert cut(runs, 0, 1024) == []
    [part] = cut(runs, 1000, 1100)
    assert (part.begin, part.local, part.count) == (1024, 0, 76)
