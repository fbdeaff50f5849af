# SPDX-License-Identifier: Apache-2.0
"""Steps over ranks: the same bits for any number of them, and any split of a batch."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import distributed, initializers, interop, optimizers
from slotwise.distributed import Communicator, DistributedError, ShardedTable, Shares, in_threads
from slotwise.distributed._parts import part_of
from slotwise.distributed._routing import rounded
from slotwise.optimizers._deferred import refusal
from support.cases import every_dtype, in_rows
from support.ops import DTYPES
from support.ranks import Training, all_on_the_last, at_random, even, train
from support.reference import Array

RANKS = (2, 3, 7)
SPLITS = {"even": even, "random": at_random(3), "last": all_on_the_last}

CURRENT = [name for name in optimizers.__all__ if isinstance(getattr(optimizers, name), type)]
CURRENT = [name for name in CURRENT if hasattr(getattr(optimizers, name), "description")]
WHOLE = [name for name in CURRENT if getattr(optimizers, name).description.is_whole]
CURRENT = [name for name in CURRENT if name not in WHOLE]
LEGACY = [name for name in dir(optimizers.legacy) if name in CURRENT or name == "Ftrl"]


def maker(api: str, name: str, **options: Any) -> Any:
    cls = getattr(optimizers if api == "current" else optimizers.legacy, name)
    return lambda comm: cls(0.01, comm=comm, **options)


@pytest.mark.parametrize("name", CURRENT)
@in_rows(sparse=["keras", "lazy"])
def test_current(name: str, sparse: str) -> None:
    check(Training(maker("current", name, sparse=sparse)))


PUT_OFF = [
    (api, name)
    for api, family, names in (
        ("current", optimizers, CURRENT),
        ("legacy", optimizers.legacy, LEGACY),
    )
    for name in names
    if not refusal(getattr(family, name).description, defaultdict(bool))
]


@pytest.mark.parametrize(("api", "name"), PUT_OFF)
def test_put_off(api: str, name: str) -> None:
    """Each rank's rows have missed other steps; the table has a row that no rank ever names."""
    options: dict[str, Any] = {"sparse": "deferred"}
    if api == "current" and name not in ("Ftrl",):
        options |= {"weight_decay": 0.01, "use_ema": True, "ema_overwrite_frequency": 9}
    training = Training(maker(api, name, **options), steps=14, ids=40, spread=2.0)
    check(training, ranks=(2, 7), splits={"random": at_random(3)})


@pytest.mark.parametrize("name", LEGACY)
@in_rows(sparse=["keras", "lazy"])
def test_legacy(name: str, sparse: str) -> None:
    check(Training(maker("legacy", name, sparse=sparse)))


def check(training: Training, ranks: Any = RANKS, splits: Any = SPLITS) -> None:
    expected = train(training, 1)
    for count in ranks:
        for name, split in splits.items():
            got = train(training, count, split)
            if 8 % count:  # parts of the dense gradient are not the same
                got = {key: x for key, x in got.items() if not key.startswith("w")}
            for key, found in got.items():
                assert found == expected[key], (count, name, key)


def test_many_ranks() -> None:
    training = Training(maker("current", "Adagrad", sparse="lazy"), ids=5000, steps=2)
    check(training, ranks=(16, 64), splits={"random": at_random(5)})


@every_dtype
def test_every_dtype(tag: str) -> None:
    spread = 1.0 if tag == "f16" else 4.0
    training = Training(maker("current", "Adagrad"), dtype=DTYPES[tag], spread=spread)
    check(training, ranks=(2, 7))


@pytest.mark.parametrize("api", ["current", "legacy"])
@in_rows(clip=["clipvalue", "clipnorm", "global_clipnorm"])
def test_clipping(api: str, clip: str) -> None:
    limits = {"clipvalue": 0.5, "clipnorm": 3.0, "global_clipnorm": 5.0}
    options = {clip: limits[clip]}
    check(Training(maker(api, "SGD", momentum=0.9, sparse="lazy", **options)), ranks=(2, 3, 8))


def test_clipping_is_that_of_one_optimizer() -> None:
    """Of gradients that are summed exactly already."""
    for options in ({"clipnorm": 3.0}, {"global_clipnorm": 5.0}, {"clipvalue": 0.5}, {}):
        training = Training(maker("current", "SGD", **options), steps=1, spread=1.0)
        [(ids, grads, parts)] = training.batches()
        start = initializers.Uniform(-1, 1, seed=1)("emb", np.arange(500), (6,), np.float32)
        emb, w = slotwise.Variable(start, name="emb"), np.ones((3, 5), np.float32)
        unique, summed = slotwise.coalesce(ids, grads, 500, exact=True)
        total = parts.astype(np.float64).sum(0).astype(np.float32)
        optimizers.SGD(0.01, **options).apply_gradients(
            [(total, w), (slotwise.IndexedSlices(summed, unique, (500, 6)), emb)]
        )
        [found] = in_threads(1, training.run)
        places = distributed._placement.Placement.even(500, 1).places(np.arange(500))
        np.testing.assert_allclose(found["table"][places], emb.value, rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(found["w"], w, rtol=2e-6)


@in_rows(options=[{"weight_decay": 0.1}, {"use_ema": True, "ema_overwrite_frequency": 2}])
def test_decay_and_averages(options: dict[str, Any]) -> None:
    check(Training(maker("current", "Adam", **options)), ranks=(2, 3))


@in_rows(merge=["order", "fast"])
def test_other_merges(merge: str) -> None:
    """``"order"`` is one process's sum, for parts that follow one another."""
    training = Training(maker("current", "Adagrad", sparse="lazy"), table={"merge": merge})
    expected = train(training, 1)["table"]
    results = [train(training, ranks)["table"] for ranks in (2, 3, 7)]
    assert all(found == expected for found in results) == (merge == "order")
    assert train(training, 3)["table"] == results[1]  # repeatable


def as_bfloat16(numbers: Array) -> Array:
    """float32 numbers, rounded to nearest even by their bits."""
    bits = numbers.view(np.uint32).astype(np.uint64)
    found = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return np.where(np.isnan(numbers), numbers, found.astype(np.uint32).view(np.float32))


def test_rounding_to_bfloat16() -> None:
    rng = np.random.default_rng(4)
    edges = [0, 1, 0x7FFF, 0x8000, 0x8001, 0x18000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0x7F800000]
    bits = np.concatenate([rng.integers(0, 2**32, 50_000), edges]).astype(np.uint32)
    numbers = np.concatenate([bits, bits | 0x80000000]).astype(np.uint32).view(np.float32)
    found = rounded(numbers).astype(np.float32)
    np.testing.assert_array_equal(found, as_bfloat16(numbers))
    assert (np.signbit(found) == np.signbit(numbers)).all()


@in_rows(ranks=[1, 2, 3])
def test_gradients_that_travel_as_bfloat16(ranks: int) -> None:
    """A rank's sum of a row is rounded, and such sums are added in float32."""
    ids = np.array([4, 1, 4, 4, 9, 1, 6])
    grads = np.random.default_rng(2).standard_normal((ranks, ids.size, 3)).astype(np.float32)
    grads[-1, 4], grads[0, 6] = (np.nan, np.inf, 1e-40), (-np.inf, 3.4e38, 1e-38)
    expected = np.zeros((10, 3), np.float32)
    for own in grads:
        unique, summed = slotwise.coalesce(ids, own, 10)
        expected[unique] += as_bfloat16(summed) if ranks > 1 else summed
    expected[np.abs(expected) < np.finfo(np.float32).tiny] = 0  # as kernels take them

    def run(comm: Communicator) -> Array:
        emb = ShardedTable((10, 3), name="emb", comm=comm, merge="fast", wire="bfloat16")
        opt = optimizers.SGD(1.0, sparse="lazy", comm=comm)
        opt.apply_gradients([(slotwise.IndexedSlices(grads[comm.rank], ids, (10, 3)), emb)])
        return emb.to_array()

    for found in in_threads(ranks, run):
        np.testing.assert_array_equal(found, -expected)


def test_bfloat16_takes_half_the_bytes() -> None:
    def run(comm: Communicator, wire: Any) -> None:
        emb = ShardedTable((999, 64), name="emb", comm=comm, merge="fast", wire=wire)
        grad = slotwise.IndexedSlices(np.ones((999, 64), np.float32), np.arange(999), (999, 64))
        optimizers.SGD(1.0, sparse="lazy", comm=comm).apply_gradients([(grad, emb)])

    long, short = (distributed.simulate(2, run, wire).sent.sum() for wire in (None, "bfloat16"))
    assert long - short == 999 * 64 * 2  # each row is sent by one of two


def test_ranks_that_send_otherwise() -> None:
    def run(comm: Communicator, options: Any) -> None:
        emb = ShardedTable((10, 2), name="emb", comm=comm, **options[comm.rank])
        opt = optimizers.SGD(1.0, sparse="lazy", comm=comm)
        with pytest.raises(DistributedError, match=r"expected the same call on all.*merge=fast"):
            opt.apply_gradients([(slotwise.IndexedSlices(ONES, np.array([1]), (10, 2)), emb)])

    fast, short = {"merge": "fast"}, {"merge": "fast", "wire": "bfloat16"}
    for options in ([fast, short], [{}, fast], [{"merge": "order"}, short]):
        in_threads(2, run, options)


def test_the_sum_in_order_is_that_of_one_process() -> None:
    training = Training(maker("current", "SGD", sparse="lazy"), table={"merge": "order"}, steps=1)
    [(ids, grads, _)] = training.batches()
    start = initializers.Uniform(-1, 1, seed=1)("emb", np.arange(500), (6,), np.float32)
    optimizers.SGD(0.01, sparse="lazy").apply_gradients(
        [(slotwise.IndexedSlices(grads, ids, (500, 6)), start)]
    )
    results = in_threads(3, training.run)
    places = distributed._placement.Placement.even(500, 3).places(np.arange(500))
    table = np.concatenate([each["table"] for each in results])
    assert (table[places] == start).all()


def pooled(
    comm: Communicator, dtype: Any, is_pooled: bool, mode: Any, merge: Any, limits: Any
) -> Any:
    """Steps with gradients of bags, for a table and for a variable that all ranks have."""
    rng = np.random.default_rng(comm.rank)
    emb = ShardedTable((50, 5), name="emb", comm=comm, dtype=dtype, merge=merge)
    small = slotwise.Variable(np.zeros((50, 5), dtype), name="small")
    opt = optimizers.Adagrad(0.1, sparse="lazy", comm=comm, **limits)
    for size in (60, 0, 40):
        ids, offsets = rng.zipf(1.3, size) % 50, np.sort([0, *rng.integers(0, size + 1, 7)])
        weights = rng.random(size).astype(np.float32)
        found = emb.lookup_pooled(ids, offsets, weights, mode)
        grads = rng.standard_normal(found.rows.shape).astype(dtype)
        of_table: Any = found.gradient(grads)
        of_small: Any = slotwise.PooledSlices(grads, ids, offsets, weights, mode, (50, 5))
        if not is_pooled:
            of_table = slotwise.IndexedSlices(of_table.values, of_table.indices, (50, 5))
            of_small = slotwise.IndexedSlices(of_small.values, ids, (50, 5))
        opt.apply_gradients([(of_table, emb), (of_small, small)])
    return emb.digest(), small.value.tobytes()


@every_dtype
@in_rows(
    case=[
        ("mean", "exact", {}),
        ("sqrtn", "fast", {}),
        ("sum", "order", {}),
        ("mean", "exact", {"clipnorm": 0.5}),
    ]
)
def test_gradients_of_bags(tag: str, case: Any) -> None:
    """They train as the gradients that they stand for, to the same bits."""
    for ranks in (1, 3):
        expected = in_threads(ranks, pooled, DTYPES[tag], False, *case)
        assert in_threads(ranks, pooled, DTYPES[tag], True, *case) == expected


@in_rows(ranks=[1, 3], merge=["exact", "fast"], dtype=[np.float32, np.float64])
def test_gradients_of_bags_stay_small(
    ranks: int, merge: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def values(grad: Any) -> Any:
        raise AssertionError("a row is formed for each id")

    monkeypatch.setattr(slotwise.PooledSlices, "values", property(values))
    in_threads(ranks, pooled, dtype, True, "mean", merge, {})


@in_rows(rows=[1, 3, 4095, 4097], owners=[None, "all on one", "random"])
def test_tables_of_any_size(rows: int, owners: str | None) -> None:
    for ranks in (1, 3, 5):
        rng = np.random.default_rng(2)
        given = {None: None, "all on one": np.full(4096, ranks - 1)}.get(
            owners, rng.integers(0, ranks, 4096)
        )
        training = Training(
            maker("current", "Adagrad", sparse="lazy"),
            shape=(rows, 2),
            table={"owners": given},
            steps=2,
        )
        results = in_threads(ranks, training.run)
        expected = in_threads(1, Training(training.make, shape=(rows, 2), steps=2).run)
        assert results[0]["digest"] == expected[0]["digest"]


# ----- variables that all ranks have -------------------------------------------------------------


def test_shares_of_slots() -> None:
    def run(comm: Communicator) -> int:
        w = slotwise.Variable(np.zeros((1000, 3), np.float32), name="w")
        opt = optimizers.Adam(0.1, comm=comm)
        opt.apply_gradients([(np.ones((1000, 3), np.float32), w)])
        assert (w.value == w.value[0, 0]).all()
        return sum(v.value.size for v in opt.variables if v.name.endswith("/w"))

    assert in_threads(4, run) == [1500] * 4


def test_a_share_of_all_elements_is_not_the_whole() -> None:
    """One rank has all, and so has the last of several, of one element."""

    def run(comm: Communicator, shape: tuple[int, ...]) -> Any:
        w = slotwise.Variable(np.zeros(shape, np.float32), name="w")
        opt = optimizers.SGD(1.0, momentum=0.5, comm=comm)
        for _ in range(3):
            opt.apply_gradients([(np.ones(shape, np.float32), w)])
        assert part_of(w.value) is None
        again = optimizers.SGD(1.0, comm=comm)
        again.apply_gradients([(np.ones(shape, np.float32), w)])
        return w.value.tolist()

    for shape in ((), (1,), (5,), (1, 1), (5, 1), (0,)):
        for ranks in (1, 2, 3):
            expected = np.full(shape, -(4.25 + 1) * ranks).tolist()
            assert in_threads(ranks, run, shape) == [expected] * ranks


def test_gradients_are_summed() -> None:
    def run(comm: Communicator) -> Any:
        w = slotwise.Variable(np.zeros(5, np.float32), name="w")
        opt = optimizers.SGD(1.0, comm=comm)
        opt.apply_gradients([(np.full(5, comm.rank + 1, np.float32), w)])
        return w.value

    assert [found.tolist() for found in in_threads(3, run)] == [[-6.0] * 5] * 3


def test_sparse_gradients_of_a_small_table_that_all_have() -> None:
    def run(comm: Communicator, split: Any) -> Any:
        rng = np.random.default_rng(1)
        small = slotwise.Variable(np.zeros((9, 2), np.float32), name="small")
        opt = optimizers.Adagrad(0.1, sparse="lazy", comm=comm)
        for _ in range(3):
            ids, grads = rng.integers(0, 9, 100), rng.standard_normal((100, 2)).astype(np.float32)
            cuts = split(100, comm.size)
            own = slice(cuts[comm.rank], cuts[comm.rank + 1])
            opt.apply_gradients([(slotwise.IndexedSlices(grads[own], ids[own], (9, 2)), small)])
        return small.value

    expected = in_threads(1, run, even)[0]
    for ranks in (2, 5):
        for split in SPLITS.values():
            for found in in_threads(ranks, run, split):
                assert (found == expected).all()


def test_wholes() -> None:
    """Rules and constraints that measure a variable have all of it."""
    for make in (
        lambda comm: optimizers.Lamb(0.1, comm=comm),
        lambda comm: optimizers.Adafactor(0.1, comm=comm),
    ):

        def run(comm: Communicator, make: Any = make) -> Any:
            rng = np.random.default_rng(comm.size * 0)
            w = slotwise.Variable(rng.standard_normal((6, 4)).astype(np.float32), name="w")
            opt = make(comm)
            parts = rng.standard_normal((8, 6, 4)).astype(np.float32)
            cuts = even(8, comm.size)
            opt.apply_gradients([(Shares(parts[cuts[comm.rank] : cuts[comm.rank + 1]]), w)])
            return w.value

        expected = in_threads(1, run)[0]
        assert (expected != 0).all()
        for ranks in (2, 4, 8):
            assert all((found == expected).all() for found in in_threads(ranks, run))

    def constrained(comm: Communicator) -> Any:
        w = slotwise.Variable(
            np.ones(4, np.float32), name="w", constraint=lambda v: v / np.abs(v).sum()
        )
        optimizers.SGD(0.5, comm=comm).apply_gradients([(np.ones(4, np.float32), w)])
        return w.value

    for found in in_threads(3, constrained):
        np.testing.assert_allclose(np.abs(found).sum(), 1, rtol=1e-6)


# ----- all or none -------------------------------------------------------------------------------


def set_up(comm: Communicator) -> tuple[ShardedTable, slotwise.Variable, Any]:
    emb = ShardedTable((10, 2), name="emb", comm=comm)
    w = slotwise.Variable(np.zeros(3, np.float32), name="w")
    return emb, w, optimizers.SGD(1.0, sparse="lazy", comm=comm)


ONES = np.ones((1, 2), np.float32)
SKIPPED = slotwise.RowPlan(np.array([1, 10]), 10, bounds="skip")
FAULTS: dict[str, Any] = {
    "id": lambda e, w, o: [(slotwise.IndexedSlices(ONES, np.array([10]), (10, 2)), e)],
    "shape": lambda e, w, o: [
        (slotwise.IndexedSlices(np.ones((1, 3), np.float32), np.array([1]), (10, 2)), e)
    ],
    "dtype": lambda e, w, o: [
        (slotwise.IndexedSlices(ONES.astype(np.float64), np.array([1]), (10, 2)), e)
    ],
    "dense shape": lambda e, w, o: [(slotwise.IndexedSlices(ONES, np.array([1]), (9, 2)), e)],
    "dense": lambda e, w, o: [(np.zeros((10, 2), np.float32), e)],
    "no gradient": lambda e, w, o: [("nothing", e)],
    "skipped": lambda e, w, o: [(slotwise.IndexedSlices(np.ones((2, 2), np.float32), SKIPPED), e)],
}
WORDS = {
    "id": r"rank 1: SGD.apply_gradients: gradient of 'emb' .*ids\[0\] = 10 is not in \[0, 10\)",
    "shape": r"rank 1: SGD.apply_gradients: .* 'emb' .*expected values \(1, 2\), got \(1, 3\)",
    "dtype": "rank 1: SGD.apply_gradients: gradient of 'emb' .*expected float32, got float64",
    "dense shape": r"rank 1: .*expected dense_shape \(10, 2\), got \(9, 2\)",
    "dense": "rank 1: .*expected IndexedSlices, got an array",
    "no gradient": "rank 1: SGD.apply_gradients: gradient of",
    "skipped": "rank 1: .*expected a RowPlan of 10 rows, got one of 10 that skipped 1",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_only_rank(fault: str) -> None:
    comm = distributed.local()
    emb, w, opt = set_up(comm)
    with pytest.raises(DistributedError, match=WORDS[fault].replace("rank 1", "rank 0", 1)):
        opt.apply_gradients(FAULTS[fault](emb, w, opt))
    assert not emb.to_array().any()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_rank_is_raised_on_all(fault: str) -> None:
    def run(comm: Communicator) -> tuple[str, str, str]:
        emb, w, opt = set_up(comm)
        before = emb.digest()
        pairs = [(slotwise.IndexedSlices(ONES, np.array([1]), (10, 2)), emb)]
        if comm.rank == 1:
            pairs = FAULTS[fault](emb, w, opt)
        with pytest.raises(DistributedError) as error:
            opt.apply_gradients(pairs)
        after = emb.digest()
        good = [(slotwise.IndexedSlices(ONES, np.array([1]), (10, 2)), emb)]
        opt.apply_gradients(good)  # goes on
        assert emb.to_array([1]).tolist() == [[-3.0, -3.0]]
        return str(error.value), before, after

    results = in_threads(3, run)
    assert len({text for text, _, _ in results}) == 1
    assert all(before == after for _, before, after in results)
    assert re.search(WORDS[fault], results[0][0])


def test_loops_that_came_apart() -> None:
    def other_variable(comm: Communicator) -> None:
        emb, w, opt = set_up(comm)
        grad = np.ones(3, np.float32)
        pairs: list[Any] = [(grad, w)]
        if comm.rank == 2:
            pairs.append((slotwise.IndexedSlices(ONES, np.array([1]), (10, 2)), emb))
        with pytest.raises(DistributedError, match="expected the same call on all ranks, got on"):
            opt.apply_gradients(pairs)

    def one_more(comm: Communicator) -> None:
        _, w, opt = set_up(comm)
        if comm.rank == 0:
            opt._iterations.assign(1)
        with pytest.raises(DistributedError, match=r"step 1; on rank 1: .*step 0"):
            opt.apply_gradients([(np.ones(3, np.float32), w)])

    def another_call(comm: Communicator) -> None:
        emb, w, opt = set_up(comm)
        with pytest.raises(DistributedError, match=r"lookup of 'emb'.*SGD.apply_gradients"):
            if comm.rank == 0:
                emb.lookup(np.array([1]))
            else:
                opt.apply_gradients([(np.ones(3, np.float32), w)])

    def another_rate(comm: Communicator) -> None:
        _, w, _ = set_up(comm)
        opt = optimizers.SGD(0.1 * (comm.rank + 1), comm=comm)
        with pytest.raises(DistributedError, match=r"learning_rate=0.1.*learning_rate=0.2"):
            opt.apply_gradients([(np.ones(3, np.float32), w)])

    for run in (other_variable, one_more, another_call, another_rate):
        in_threads(3, run)


@pytest.mark.parametrize("name", WHOLE)
def test_rules_that_measure_whole_variables_refuse_tables(name: str) -> None:
    def run(comm: Communicator) -> None:
        emb = ShardedTable((10, 2), name="emb", comm=comm)
        opt = getattr(optimizers, name)(0.1, comm=comm)
        grad = slotwise.IndexedSlices(ONES, np.array([1]), (10, 2))
        with pytest.raises(DistributedError, match="'emb': expected an optimizer that goes row by"):
            opt.apply_gradients([(grad, emb)])

    in_threads(2, run)


def test_a_variable_is_shared_or_has_sparse_gradients() -> None:
    def run(comm: Communicator) -> None:
        small = slotwise.Variable(np.zeros((9, 2), np.float32), name="small")
        opt = optimizers.SGD(comm=comm)
        opt.build([small])
        grad = slotwise.IndexedSlices(ONES, np.array([1]), (9, 2))
        with pytest.raises(DistributedError, match="make it a ShardedTable"):
            opt.apply_gradients([(grad, small)])

    in_threads(2, run)


def test_a_table_needs_ranks() -> None:
    emb = ShardedTable((10, 2), name="emb")
    with pytest.raises(TypeError, match=r"expected a slotwise.Variable or an ndarray, got Sharded"):
        optimizers.SGD().apply_gradients([(ONES, emb)])
    with pytest.raises(TypeError, match=r"comm: expected a slotwise.distributed.Communicator"):
        optimizers.SGD(comm="mpi")


def test_an_optimizer_with_ranks_is_not_copied() -> None:
    opt = optimizers.SGD(comm=distributed.local())
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy(opt)


@pytest.mark.parametrize("api", ["current", "legacy"])
def test_loss_scales(api: str) -> None:
    """A step is left out by all ranks, if the gradients of one are not finite."""

    def run(comm: Communicator) -> Any:
        emb = ShardedTable((10, 2), name="emb", comm=comm)
        w = slotwise.Variable(np.zeros(3, np.float32), name="w")
        inner = maker(api, "SGD", sparse="lazy")(comm)
        opt = optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
        seen = []
        for bad in (False, True, False):
            rows = np.full((2, 2), 4.0, np.float32)
            if bad and comm.rank == 1:
                rows[1, 0] = np.inf
            grads = [emb.lookup(np.array([1, 7])).gradient(rows), np.full(3, 4.0, np.float32)]
            if api == "legacy":
                grads = opt.get_unscaled_gradients(grads)
            opt.apply_gradients(zip(grads, [emb, w], strict=True))
            seen.append((float(opt.loss_scale), float(w.value[0]), emb.to_array([7])[0].tolist()))
        return seen

    results = in_threads(3, run)
    assert all(found == results[0] for found in results)
    scales, w, rows = zip(*results[0], strict=True)
    assert scales == (4, 2, 2)
    assert w[0] == w[1] != w[2]
    assert rows[0] == rows[1] != rows[2]


def test_exclusions_and_averages_of_shares() -> None:
    """What is said of a variable holds for the shares of it."""

    def run(comm: Communicator) -> Any:
        w, b = (slotwise.Variable(np.ones(5, np.float32), name=name) for name in ("w", "b"))
        emb = ShardedTable((4, 2), name="emb", comm=comm, initializer=1.0)
        opt = optimizers.SGD(0.5, weight_decay=0.5, use_ema=True, ema_momentum=0.5, comm=comm)
        opt.exclude_from_weight_decay([b, emb])
        zero = np.zeros(5, np.float32)
        none = slotwise.IndexedSlices(np.zeros((1, 2), np.float32), np.array([1]), (4, 2))
        opt.apply_gradients([(zero, w), (zero, b), (none, emb)])
        seen = [w.value.tolist(), b.value.tolist(), emb.to_array().tolist()]
        opt.finalize_variable_values([w, emb])
        return [*seen, w.value.tolist(), emb.to_array().tolist()]

    for ranks in (1, 3):
        for w, b, emb, average, table in in_threads(ranks, run):
            assert w == [0.75] * 5
            assert b == [1.0] * 5
            assert emb == table == [[1.0, 1.0]] * 4
            assert average == [0.875] * 5


def test_parts_are_no_variables() -> None:
    def run(comm: Communicator) -> None:
        emb, w, opt = set_up(comm)
        with pytest.raises(DistributedError, match=r"'emb'.* got a rank's part of one"):
            opt.apply_gradients([(np.zeros_like(emb.local.value), emb.local)])
        with pytest.raises(DistributedError, match="No gradients provided for any variable"):
            opt.apply_gradients([(None, w)])
        opt.apply_gradients([(np.ones(3, np.float32), w)])

    in_threads(2, run)


@pytest.mark.parametrize("api", ["current", "legacy"])
def test_other_libraries_get_no_part(api: str) -> None:
    opt = maker(api, "Adam")(distributed.local())
    w = slotwise.Variable(np.zeros(3, np.float32), name="w")
    opt.apply_gradients([(np.ones(3, np.float32), w)])
    with pytest.raises(ValueError, match="keras_weights: optimizer: expected one that has all"):
        interop.keras_weights(opt)
    with pytest.raises(ValueError, match="torch_state_dict: optimizer: expected one that has all"):
        interop.torch_state_dict(opt, [w], {})
