# SPDX-License-Identifier: Apache-2.0
"""Several tables that are looked up, and updated, by the messages of one."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import distributed, optimizers
from slotwise.distributed import DistributedError, _routing

NO_TABLE: Any = np.ones(3)
NO_LIST: Any = None
SHAPES: dict[str, tuple[tuple[int, ...], Any]] = {
    "a": ((50, 3), np.float32),
    "b": ((7, 2, 2), np.float64),
    "c": ((9,), np.float16),
    "d": ((4, 5), ml_dtypes.bfloat16),
    "e": ((1, 1), np.float32),
    "f": ((6, 0), np.float32),
}


def tables_of(comm: Any, merge: Any = "exact") -> list[slotwise.ShardedTable]:
    start = slotwise.initializers.Uniform(-1, 1, seed=1)
    return [
        slotwise.ShardedTable(
            shape, name=name, comm=comm, dtype=dtype, initializer=start, merge=merge
        )
        for name, (shape, dtype) in SHAPES.items()
    ]


def share(comm: Any, ids: np.ndarray) -> np.ndarray:
    return np.array_split(ids, comm.size)[comm.rank]


def trained(
    comm: Any, is_together: bool, merge: str = "exact", is_ahead: bool = False
) -> list[Any]:
    """Digests, and the rows that were found."""
    rng, tables, found_rows = np.random.default_rng(0), tables_of(comm, merge), []
    opt = optimizers.Adagrad(0.1, sparse="lazy", comm=comm)
    for step in range(3):
        ids = [share(comm, rng.integers(0, len_of(table), 11 * step)) for table in tables]
        if is_ahead:
            for number in (0, 3):
                tables[number].prefetch(ids[number])
        if is_together:
            found = distributed.lookup(tables, ids)
        else:
            found = [table.lookup(own) for table, own in zip(tables, ids, strict=True)]
        found_rows += [each.rows.tobytes() for each in found]
        opt.apply_gradients(
            [(f.gradient(f.rows * 2), t) for f, t in zip(found, tables, strict=True)]
        )
        bounds = [np.arange(0, len(own) + 1, 2) for own in ids]
        if is_together:
            found = distributed.lookup_pooled(tables, ids, bounds, mode="mean")
        else:
            every = zip(tables, ids, bounds, strict=True)
            found = [table.lookup_pooled(*each, mode="mean") for table, *each in every]
        found_rows += [each.rows.tobytes() for each in found]
        opt.apply_gradients(
            [(f.gradient(f.rows + 1), t) for f, t in zip(found, tables, strict=True)]
        )
    return [*(table.digest() for table in tables), *found_rows]


def len_of(table: slotwise.ShardedTable) -> int:
    return int(table.shape[0])


@pytest.mark.parametrize("small", [0, 1 << 30], ids=["apart", "packed"])
@pytest.mark.parametrize("merge", ["exact", "order", "fast"])
@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_they_are_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch, ranks: int, merge: str, small: int
) -> None:
    monkeypatch.setattr(_routing, "_SMALL", 0)
    alone = distributed.in_threads(ranks, trained, False, merge)
    monkeypatch.setattr(_routing, "_SMALL", small)
    for is_ahead in (False, True):
        assert distributed.in_threads(ranks, trained, True, merge, is_ahead) == alone


class Counted:
    """A communicator that counts its calls."""

    def __init__(self, comm: Any) -> None:
        self._comm, self.rank, self.size, self.calls = comm, comm.rank, comm.size, 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self._comm, name)


def test_messages_are_those_of_one_table() -> None:
    def calls(comm: Any) -> tuple[int, int]:
        counted = Counted(comm)
        tables = tables_of(counted)[:4]
        opt = optimizers.Adagrad(0.1, sparse="lazy", comm=counted)
        counted.calls = 0
        found = distributed.lookup(tables, [np.array([comm.rank])] * 4)
        lookup, counted.calls = counted.calls, 0
        opt.apply_gradients([(f.gradient(f.rows), t) for f, t in zip(found, tables, strict=True)])
        return lookup, counted.calls

    # Whether all can, ids, rows; whether all can (and counts of four tables), ids and rows.
    assert distributed.in_threads(2, calls) == [(3, 3)] * 2


def test_what_does_not_fit_on_one_rank_is_an_error_on_all() -> None:
    def wrong(comm: Any) -> list[str]:
        tables, good = tables_of(comm), [np.array([0])] * len(SHAPES)
        bad = [*good[:1], np.array([7]), *good[2:]]
        offsets: Any = [[0]] * len(SHAPES)
        messages = []
        calls: list[Any] = [
            lambda is_bad: distributed.lookup(tables, bad if is_bad else good),
            lambda is_bad: distributed.lookup(tables, good[: 2 if is_bad else None]),
            lambda is_bad: distributed.lookup_pooled(
                tables, good, [*offsets[:4], [1], [0]] if is_bad else offsets
            ),
            lambda is_bad: distributed.lookup_pooled(
                tables, good, offsets, mode="max" if is_bad else "sum"
            ),
        ]
        for call in calls:
            with pytest.raises(DistributedError) as caught:
                call(comm.rank == 1)
            messages.append(str(caught.value))
        assert len(distributed.lookup(tables, good)) == len(SHAPES)  # they may go on
        return messages

    first, second = distributed.in_threads(2, wrong)
    assert first == second
    assert "lookup of 'b': RowPlan: ids[0] = 7 is not in [0, 7)" in first[0]
    assert "lookup: ids: expected 6, one for each table, got 2" in first[1]
    assert "lookup_pooled of 'e': gather_pooled: offsets" in first[2]
    assert "lookup_pooled of 'a': gather_pooled: mode" in first[3]
    assert all("rank 1: " in message for message in first)


def test_other_calls_are_told_apart() -> None:
    def apart(comm: Any) -> None:
        tables = tables_of(comm)[:2]
        ids = [np.array([0])] * 2
        with pytest.raises(
            DistributedError, match=r"same call .*'a' .*'b' .*on rank 1.*'b' .*'a' "
        ):
            distributed.lookup(tables if comm.rank == 0 else tables[::-1], ids)

    distributed.in_threads(2, apart)


def test_tables() -> None:
    table, other = (slotwise.ShardedTable((3, 2), name="t") for _ in range(2))
    with pytest.raises(
        ValueError, match=r"^lookup: tables: expected .* one communicator, got none"
    ):
        distributed.lookup([], [])
    with pytest.raises(TypeError, match=r"^lookup_pooled: tables: .* got ndarray at 1"):
        distributed.lookup_pooled([table, NO_TABLE], [], [])
    with pytest.raises(TypeError, match=r"^lookup: tables: expected a list of ShardedTables"):
        distributed.lookup(NO_LIST, [])
    with pytest.raises(ValueError, match=r"^lookup: tables: .* got 't' and 't' of two"):
        distributed.lookup([table, other], [np.array([0])] * 2)
