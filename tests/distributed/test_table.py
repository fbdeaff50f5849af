# SPDX-License-Identifier: Apache-2.0
"""Tables over ranks: rows found, pooled and read; what they begin with; what ranks have to do."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import distributed, initializers, optimizers
from slotwise.distributed import Communicator, DistributedError, ShardedTable, in_threads
from support.cases import every_dtype, every_index, in_rows
from support.ops import DTYPES
from support.reference import Array

RANKS = (1, 2, 3, 7)
WHOLE = np.random.default_rng(3).standard_normal((50, 3)).astype(np.float32)


def table(comm: Communicator, whole: Array = WHOLE, **options: Any) -> ShardedTable:
    options = {"initializer": whole, "dtype": whole.dtype, **options}
    return ShardedTable(whole.shape, name="emb", comm=comm, **options)


# ----- rows --------------------------------------------------------------------------------------


@every_dtype
@every_index
@in_rows(ranks=RANKS)
def test_lookup(tag: str, index: type, ranks: int) -> None:
    whole = WHOLE.astype(DTYPES[tag])

    def run(comm: Communicator) -> None:
        emb = table(comm, whole)
        rng = np.random.default_rng(comm.rank)
        for shape in ((20,), (0,), (4, 5), ()):
            ids = rng.integers(0, 50, shape).astype(index)
            found = emb.lookup(np.asarray(ids))
            assert found.rows.dtype == whole.dtype
            assert (found.rows == whole[ids]).all()
            assert found.rows.shape == (*shape, 3)
        assert (emb.to_array() == whole).all()
        assert (emb.to_array(slice(5, 40, 7)) == whole[5:40:7]).all()
        assert (emb.to_array([[1, 2], [49, 1]]) == whole[[[1, 2], [49, 1]]]).all()

    in_threads(ranks, run)


@in_rows(ranks=RANKS, shape=[(50,), (50, 2, 3), (50, 0), (0, 3)])
def test_shapes(ranks: int, shape: tuple[int, ...]) -> None:
    whole = np.random.default_rng(1).standard_normal(shape).astype(np.float32)

    def run(comm: Communicator) -> None:
        emb = table(comm, whole)
        assert emb.shape == shape
        ids = np.arange(shape[0])
        assert (emb.lookup(ids).rows == whole).all()
        assert (emb.to_array() == whole).all()

    in_threads(ranks, run)


@in_rows(ranks=RANKS, mode=["sum", "mean", "sqrtn"], weighted=[False, True])
def test_lookup_pooled(ranks: int, mode: Any, weighted: bool) -> None:
    def run(comm: Communicator) -> None:
        emb = table(comm)
        rng = np.random.default_rng(comm.rank)
        ids, offsets = rng.integers(0, 50, 30), np.array([0, 4, 4, 20])
        weights = rng.standard_normal(30).astype(np.float32) if weighted else None
        found = emb.lookup_pooled(ids, offsets, weights, mode)
        expected = slotwise.gather_pooled(WHOLE, ids, offsets, weights, mode)
        assert (found.rows == expected).all()
        assert emb.lookup_pooled(ids[:0], [], None, mode).rows.shape == (0, 3)

    in_threads(ranks, run)


@in_rows(ranks=RANKS, mode=["sum", "mean"])
def test_gradients_of_pooled_rows(ranks: int, mode: Any) -> None:
    ids, offsets = np.array([3, 7, 3, 9, 3, 1]), np.array([0, 2, 5])
    grads = np.random.default_rng(2).standard_normal((3, 3)).astype(np.float32)
    expected = WHOLE.copy()
    slices = slotwise.PooledSlices(grads, ids, offsets, None, mode, (50, 3))
    unique, summed = slotwise.coalesce(ids, np.tile(slices.values, (ranks, 1))[:6], 50, exact=True)
    _, summed = slotwise.coalesce(np.tile(unique, ranks), np.tile(summed, (ranks, 1)), 50)
    optimizers.SGD(1.0, sparse="lazy").apply_gradients(
        [(slotwise.IndexedSlices(summed, unique, (50, 3)), expected)]
    )

    def run(comm: Communicator) -> None:
        emb, opt = table(comm), optimizers.SGD(1.0, sparse="lazy", comm=comm)
        found = emb.lookup_pooled(ids, offsets, None, mode)
        opt.apply_gradients([(found.gradient(grads), emb)])
        np.testing.assert_allclose(emb.to_array(), expected, rtol=1e-6)

    in_threads(ranks, run)


def test_prefetch() -> None:
    """Ids travel before; rows are those of the lookup."""

    def run(comm: Communicator) -> None:
        emb, opt = table(comm), optimizers.SGD(1.0, sparse="lazy", comm=comm)
        first, second = np.array([1, 2]), np.array([2, 3 + comm.rank])
        found = emb.lookup(first)
        emb.prefetch(second)
        opt.apply_gradients([(found.gradient(np.ones((2, 3), np.float32)), emb)])
        rows = emb.lookup(second).rows
        assert (rows[0] == WHOLE[2] - comm.size).all()
        assert (rows[1] == WHOLE[second[1]]).all()
        emb.prefetch(first)
        other = first.copy()
        if comm.rank == comm.size - 1:
            other[0] = 7
        with pytest.raises(
            DistributedError, match=r"rank \d: lookup of 'emb'.*those that were prefetched"
        ):
            emb.lookup(other)
        emb.prefetch(first)
        first += 1  # the same array, with others
        with pytest.raises(DistributedError, match=r"lookup of 'emb'.*those that were prefetched"):
            emb.lookup(first)
        assert (emb.lookup(first).rows == emb.to_array(first)).all()

    for ranks in (1, 3):
        in_threads(ranks, run)


def test_gradients_of_the_rows_of_another_table() -> None:
    """They go to the rows of the table that they are applied to, wherever it has them."""

    def run(comm: Communicator) -> None:
        owners = np.arange(4096)[::-1] * comm.size // 4096
        emb, other = table(comm), table(comm, owners=owners)
        found = emb.lookup(np.array([3, 8]))
        opt = optimizers.SGD(1.0, sparse="lazy", comm=comm)
        opt.apply_gradients([(found.gradient(np.ones((2, 3), np.float32)), other)])
        expected = WHOLE.copy()
        expected[[3, 8]] -= comm.size
        assert (other.to_array() == expected).all()
        assert (emb.to_array() == WHOLE).all()

    for ranks in (1, 3):
        in_threads(ranks, run)


def test_gradients_are_checked() -> None:
    emb = table(distributed.local())
    found = emb.lookup(np.array([1, 2]))
    with pytest.raises(ValueError, match=r"gradients: expected shape \(2, 3\), got \(3, 2\)"):
        found.gradient(np.zeros((3, 2), np.float32))
    with pytest.raises(TypeError, match="gradients: expected float32, got float64"):
        found.gradient(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda t: t.lookup(np.array([1, 50])), r"rank 1: .*ids\[1\] = 50 is not in \[0, 50\)"),
        (lambda t: t.lookup(np.array([-1])), "rank 1: .*-1 is not in"),
        (lambda t: t.lookup(np.array([0.5])), "rank 1: .*ids"),
        (lambda t: t.lookup_pooled(np.array([1]), [1]), "rank 1: .*offsets"),
    ],
)
def test_a_fault_of_one_rank(call: Any, match: str) -> None:
    def run(comm: Communicator) -> None:
        emb = table(comm)
        with pytest.raises(DistributedError, match=match):
            if comm.rank == 1:
                call(emb)
            elif "pooled" in match or "offsets" in match:
                emb.lookup_pooled(np.array([1]), [0])
            else:
                emb.lookup(np.array([1]))
        assert (emb.lookup(np.array([3])).rows == WHOLE[3]).all()

    in_threads(3, run)


# ----- what it begins with -----------------------------------------------------------------------


@every_dtype
@in_rows(
    initializer=[
        initializers.Uniform(-2, 3, seed=5),
        initializers.Normal(1, 2, seed=5),
        initializers.Constant(0.5),
        0.25,
        None,
    ]
)
def test_initial_values_do_not_depend_on_ranks(tag: str, initializer: Any) -> None:
    def run(comm: Communicator) -> Array:
        options = {"dtype": DTYPES[tag], "initializer": initializer}
        return ShardedTable((99, 4), name="emb", comm=comm, **options).to_array()

    expected = in_threads(1, run)[0]
    assert all((found == expected).all() for ranks in (2, 5) for found in in_threads(ranks, run))


def test_distributions() -> None:
    rows = np.arange(20_000)
    uniform = initializers.Uniform(-2, 3, seed=1)("a", rows, (8,), np.float64)
    assert uniform.min() >= -2
    assert uniform.max() < 3
    np.testing.assert_allclose(uniform.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(uniform.var(), 25 / 12, rtol=0.01)
    assert len(np.unique(uniform)) > 0.98 * uniform.size
    normal = initializers.Normal(1, 2, seed=1)("a", rows, (8,), np.float64)
    np.testing.assert_allclose((normal.mean(), normal.std()), (1, 2), rtol=0.02)
    within = [(np.abs(normal - 1) < 2 * s).mean() for s in (1, 2, 3)]
    np.testing.assert_allclose(within, [0.6827, 0.9545, 0.9973], atol=0.006)
    for columns in (uniform, normal):
        assert np.abs(np.corrcoef(columns.T) - np.eye(8)).max() < 0.03
    for other in (
        initializers.Uniform(-2, 3, seed=2)("a", rows, (8,), np.float64),
        initializers.Uniform(-2, 3, seed=1)("b", rows, (8,), np.float64),
    ):
        assert abs(np.corrcoef(uniform.ravel(), other.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ShardedTable((), name="emb"), r"shape: expected \(rows, ...\), got \(\)"),
        (lambda: ShardedTable((-1, 2), name="emb"), "shape"),
        (lambda: ShardedTable((3, 2), name=7), "name"),
        (
            lambda: ShardedTable((3, 2), name="emb", dtype=np.int32),
            "dtype: expected float16, .* int32",
        ),
        (lambda: ShardedTable((3, 2), name="emb", merge="any"), "merge"),
        (
            lambda: ShardedTable((3, 2), name="emb", merge="fast", wire="float16"),
            "wire: expected 'bfloat16' or None, got 'float16'",
        ),
        *(
            (
                lambda options=options: ShardedTable(
                    (3, 2), name="emb", wire="bfloat16", **options
                ),
                "wire: expected None, except with merge='fast' for float32, got 'bfloat16' with",
            )
            for options in (
                {},
                {"merge": "order"},
                {"merge": "fast", "dtype": np.float16},
                {"merge": "fast", "dtype": ml_dtypes.bfloat16},
                {"merge": "fast", "dtype": np.float64},
            )
        ),
        (lambda: ShardedTable((3, 2), name="emb", owners=[0, 1]), "owners: expected 4096 ranks"),
        (lambda: ShardedTable((3, 2), name="emb", owners=np.ones(4096, int)), "from 0 to 0"),
        (
            lambda: ShardedTable((3, 2), name="emb", initializer=np.zeros((2, 3))),
            r"initializer: expected shape \(3, 2\), got \(2, 3\)",
        ),
        (lambda: initializers.Uniform(2, 1), "Uniform: high: expected at least low"),
        (lambda: initializers.Uniform(0, float("nan")), "Uniform: high: expected a finite number"),
        (lambda: initializers.Normal(0, -1), "Normal: deviation: expected at least 0"),
    ],
)
def test_refused(make: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        make()


# ----- all of it ---------------------------------------------------------------------------------


def test_digests() -> None:
    def run(comm: Communicator) -> tuple[str, str]:
        emb = table(comm)
        first = emb.digest()
        if len(emb.local) and comm.rank == comm.size - 1:
            emb.local.value[0, 0] += 1
        return first, emb.digest()

    expected = in_threads(1, run)[0]
    assert expected[0] != expected[1]
    for ranks in (2, 5):
        assert {first for first, _ in in_threads(ranks, run)} == {expected[0]}


def test_balance() -> None:
    def run(comm: Communicator) -> Any:
        emb = table(comm)
        emb.lookup(np.arange(50))
        emb.lookup(np.full(100, 7))
        return emb.balance()

    for ranks in (1, 4):
        [found, *others] = in_threads(ranks, run)
        assert all(other == found for other in others)
        assert sum(found["rows"]) == 50
        asked = 150 if ranks == 1 else 51 * ranks  # one rank merges nothing
        assert sum(found["ids"]) == asked
        assert sum(found["bytes"]) == asked * 12
        assert max(found["rows"]) <= -(-50 // ranks) + 2


def test_hot_rows_cost_each_rank_one() -> None:
    """Ids are merged before they are sent, so that no rank has much more to do."""

    def run(comm: Communicator) -> Any:
        emb = ShardedTable((100_000, 1), name="emb", comm=comm)
        rng = np.random.default_rng(comm.rank)
        emb.lookup((rng.zipf(1.2, 20_000) - 1) % 100_000)
        return emb.balance()["ids"]

    found = np.array(in_threads(8, run)[0])
    assert found.max() <= 1.1 * found.mean()
    assert found.sum() < 0.5 * 8 * 20_000
