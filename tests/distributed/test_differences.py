# SPDX-License-Identifier: Apache-2.0
"""Ranks never differ in silence: in what they are set to, or in what they have afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import _stateful, distributed, optimizers
from slotwise.distributed import Communicator, DistributedError, ShardedTable, in_threads
from support.cases import in_rows
from support.reference import Array

ROWS = np.arange(8, dtype=np.float32).reshape(8, 1)


def variable(name: str, value: Any = (1, 1, 1, 1)) -> slotwise.Variable:
    return slotwise.Variable(np.array(value, np.float32), name=name)


def rows(ids: list[int], value: float = 1.0) -> slotwise.IndexedSlices:
    return slotwise.IndexedSlices(
        np.full((len(ids), 1), value, np.float32), np.array(ids, np.int64), (8, 1)
    )


def part(comm: Communicator, total: list[float]) -> Array:
    """Of a gradient, all on rank 0."""
    return np.array(total if comm.rank == 0 else np.zeros_like(total), np.float32)


# ----- what they have ----------------------------------------------------------------------------


@in_rows(is_listed=[True, False])
def test_averages_of_variables_without_a_gradient(is_listed: bool) -> None:
    """Keras 3's averages overwrite all variables, whatever has a gradient in that step."""

    def run(comm: Communicator) -> Any:
        a, b = variable("a"), variable("b")
        options: dict[str, Any] = {"ema_momentum": 0.5, "ema_overwrite_frequency": 3}
        opt = optimizers.SGD(0.5, use_ema=True, ema_variant="keras3", comm=comm, **options)
        grad = part(comm, [1, 1, 1, 1])
        for _ in range(2):
            opt.apply_gradients([(grad, a), (grad, b)])
        opt.apply_gradients([(grad, a), (None, b)] if is_listed else [(grad, a)])
        return a.value.tolist(), b.value.tolist()

    [expected] = in_threads(1, run)
    assert in_threads(2, run) == [expected] * 2


def test_accumulated_gradients_of_variables_without_one() -> None:
    def run(comm: Communicator) -> Any:
        a, b = variable("a"), variable("b")
        opt = optimizers.SGD(0.5, gradient_accumulation_steps=2, comm=comm)
        grad = part(comm, [1, 1, 1, 1])
        opt.apply_gradients([(grad, a), (grad, b)])
        opt.apply_gradients([(grad, a)])
        return a.value.tolist(), b.value.tolist()

    [expected] = in_threads(1, run)
    assert in_threads(2, run) == [expected] * 2


def test_other_initial_values() -> None:
    """Variables that each rank updates as a whole stay as they began."""

    def run(comm: Communicator) -> Any:
        w = variable("w", [comm.rank] * 4)
        optimizers.SGD(1.0, clipnorm=1.0, comm=comm).apply_gradients([(part(comm, [1] * 4), w)])
        return w.value.tolist()

    with pytest.raises(DistributedError):
        in_threads(2, run)


@in_rows(name=["Lamb", "Adafactor"])
def test_rows_of_a_variable_that_is_measured(name: str) -> None:
    """Gradients of equal ids are summed exactly there, too."""

    def run(comm: Communicator) -> Any:
        rng = np.random.default_rng(0)
        w = slotwise.Variable(np.ones((4, 3)), name="w")
        opt = getattr(optimizers, name)(0.01, comm=comm)
        ids, grads = rng.integers(0, 4, 200), rng.standard_normal((200, 3))
        own = slice(200 * comm.rank // comm.size, 200 * (comm.rank + 1) // comm.size)
        opt.apply_gradients([(slotwise.IndexedSlices(grads[own], ids[own], (4, 3)), w)])
        [entry] = _stateful.met(opt)
        return {slot: value.value.tobytes() for slot, value in entry.slots.items()}

    [expected] = in_threads(1, run)
    assert in_threads(3, run) == [expected] * 3


# ----- what they are set to ----------------------------------------------------------------------

Schedule = optimizers.schedules.ExponentialDecay
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "clipnorm": [{"clipnorm": 1.0}, {"clipnorm": 2.0}],
    "clipping": [{"clipnorm": 1.0}, {"clipvalue": 1.0}],
    "clipvalue": [{"clipvalue": 1.0}, {"clipvalue": 2.0}],
    "weight_decay": [{"weight_decay": 0.1}, {"weight_decay": 0.2}],
    "no weight_decay": [{"weight_decay": 0.1}, {}],
    "nesterov": [{"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}],
    "use_ema": [{"use_ema": True}, {}],
    "ema_momentum": [{"use_ema": True}, {"use_ema": True, "ema_momentum": 0.5}],
    "overwriting": [{"use_ema": True}, {"use_ema": True, "ema_overwrite_frequency": 1}],
    "schedule": [{"learning_rate": Schedule(x, 1, 0.5)} for x in (0.5, 1.0)],
    "sparse": [{"sparse": "lazy"}, {"sparse": "keras"}],
    "accumulation": [{"gradient_accumulation_steps": 2}, {}],
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_optimizers_that_are_set_otherwise(setting: str) -> None:
    def run(comm: Communicator) -> None:
        emb, w = ShardedTable((8, 1), name="emb", comm=comm), variable("w")
        opt = optimizers.SGD(**{"learning_rate": 0.5, **SETTINGS[setting][comm.rank]}, comm=comm)
        with pytest.raises(DistributedError, match="expected the same"):
            opt.apply_gradients([(rows([1]), emb), (part(comm, [1] * 4), w)])

    in_threads(2, run, timeout=5)


def test_owners_that_differ() -> None:
    def run(comm: Communicator) -> Any:
        owners = np.arange(4096) * 2 // 4096
        owners = owners if comm.rank == 0 else 1 - owners
        emb = ShardedTable((8, 1), name="emb", comm=comm, initializer=ROWS, owners=owners)
        return emb.lookup(np.arange(8)).rows

    with pytest.raises(DistributedError):
        in_threads(2, run, timeout=5)


def test_a_constraint_of_one_rank() -> None:
    def run(comm: Communicator) -> None:
        kept: Any = None if comm.rank == 0 else lambda value: value
        w = slotwise.Variable(np.zeros(3, np.float32), name="w", constraint=kept)
        opt = optimizers.SGD(1.0, comm=comm)
        with pytest.raises(DistributedError, match="expected the same"):
            opt.apply_gradients([(part(comm, [1] * 3), w)])

    in_threads(2, run, timeout=5)


# ----- what depends on the whole -----------------------------------------------------------------


class Unit(optimizers.SGD):
    def aggregate_gradients(self, grads_and_vars: Any) -> Any:
        return unit(grads_and_vars)


def unit(pairs: Any) -> Any:
    return [(grad / np.linalg.norm(grad), var) for grad, var in pairs]


@in_rows(
    make=[
        lambda comm: optimizers.legacy.SGD(1.0, gradient_transformers=[unit], comm=comm),
        lambda comm: Unit(1.0, comm=comm),
    ]
)
def test_what_users_do_with_gradients(make: Callable[[Communicator], Any]) -> None:
    """It is done with whole ones, or refused."""

    def run(comm: Communicator) -> Any:
        w = variable("w", [0] * 4)
        make(comm).apply_gradients([(part(comm, [3, 0, 0, 4]), w)])
        return w.value.tolist()

    [expected] = in_threads(1, run)
    assert in_threads(2, run) == [expected] * 2


# ----- copies ------------------------------------------------------------------------------------


@in_rows(ranks=[1, 2])
def test_a_copied_table(ranks: int, tmp_path: Path) -> None:
    """It can be saved, and is the same table."""

    def run(comm: Communicator) -> Any:
        emb = ShardedTable((8, 1), name="emb", comm=comm, initializer=ROWS)
        again = ShardedTable((8, 1), name="emb", comm=comm)
        slotwise.save(tmp_path / "copy", variables=[copy.deepcopy(emb)])
        slotwise.load(tmp_path / "copy", variables=[again])
        return again.to_array().tolist()

    assert in_threads(ranks, run) == [ROWS.tolist()] * ranks


@in_rows(ranks=[1, 2], what=["ids", "offsets", "weights"])
def test_arrays_that_are_used_again_before_the_gradient(ranks: int, what: str) -> None:
    """A lookup keeps what it was given, as loaders write the next batch into the same arrays."""

    def run(comm: Communicator) -> Any:
        emb = ShardedTable((8, 1), name="emb", comm=comm)
        opt = optimizers.SGD(1.0, sparse="lazy", comm=comm)
        given = {"ids": np.array([1, 2]), "offsets": np.array([0, 1])}
        given["weights"] = np.array([1, 1], np.float32)
        found = emb.lookup_pooled(**given)
        given[what][:] = {"ids": [5, 6], "offsets": [0, 2], "weights": [10, 10]}[what]
        opt.apply_gradients([(found.gradient(np.array([[1], [3]], np.float32)), emb)])
        return emb.to_array()[:, 0].tolist()

    expected = [0.0, -1.0 * ranks, -3.0 * ranks, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert in_threads(ranks, run) == [expected] * ranks


@in_rows(ranks=[1, 2])
def test_ids_that_are_used_again_before_the_gradient_is_scaled(ranks: int) -> None:
    def run(comm: Communicator) -> Any:
        emb, ids = ShardedTable((8, 1), name="emb", comm=comm), np.array([1, 2])
        inner = optimizers.SGD(1.0, sparse="lazy", comm=comm)
        opt = optimizers.LossScaleOptimizer(inner, dynamic=False, initial_scale=2.0)
        found = emb.lookup(ids)
        ids[:] = 5, 6
        scaled = found.gradient(np.full((2, 1), 2, np.float32))
        opt.apply_gradients(zip(opt.get_unscaled_gradients([scaled]), [emb], strict=True))
        return emb.to_array()[:, 0].tolist()

    expected = [0.0, -1.0 * ranks, -1.0 * ranks, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert in_threads(ranks, run) == [expected] * ranks


# ----- all or none -------------------------------------------------------------------------------


def clipped_late(opt: Any, w: Any, grad: Array) -> None:
    opt.clipnorm = 1.0
    try:
        opt.apply_gradients([(grad, w)])
    finally:
        opt.clipnorm = None


REFUSED: dict[str, Callable[[Any, Any, Array], Any]] = {
    "clipping": clipped_late,
    "variable": lambda opt, w, grad: opt.apply_gradients([(grad, w), (grad, variable("other"))]),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_ranks_go_on_after_a_fault_of_all(fault: str) -> None:
    def run(comm: Communicator) -> Any:
        w, opt, grad = variable("w", [0] * 4), optimizers.SGD(1.0, comm=comm), part(comm, [1] * 4)
        opt.apply_gradients([(grad, w)])
        with pytest.raises((ValueError, KeyError, DistributedError)):
            REFUSED[fault](opt, w, grad)
        opt.apply_gradients([(grad, w)])
        return w.value.tolist()

    assert in_threads(2, run) == [[-2.0] * 4] * 2


def test_averages_that_are_refused() -> None:
    def run(comm: Communicator) -> Any:
        w, opt = variable("w", [0] * 4), optimizers.SGD(1.0, use_ema=True, comm=comm)
        opt.apply_gradients([(part(comm, [1] * 4), w)])
        with pytest.raises(DistributedError):
            opt.finalize_variable_values([w] if comm.rank == 0 else [])
        return w.value.tolist()

    assert in_threads(2, run) == [[-1.0] * 4] * 2


@in_rows(bad=[[[1], [2, 3]], slice("a", None)])
def test_no_rows_on_one_rank(bad: Any) -> None:
    def run(comm: Communicator) -> None:
        emb = ShardedTable((8, 1), name="emb", comm=comm)
        with pytest.raises(DistributedError, match="rank 1: to_array of 'emb': "):
            emb.to_array(bad if comm.rank == 1 else None)

    in_threads(2, run, timeout=5)


# ----- checkpoints -------------------------------------------------------------------------------


@in_rows(ranks=[1, 2])
def test_a_restart_with_rows_of_a_variable_that_all_have(ranks: int, tmp_path: Path) -> None:
    def state(comm: Communicator) -> tuple[slotwise.Variable, Any]:
        small = slotwise.Variable(np.zeros((8, 1), np.float32), name="small")
        return small, optimizers.Adagrad(0.1, sparse="lazy", comm=comm)

    def run(comm: Communicator) -> Any:
        small, opt = state(comm)
        opt.apply_gradients([(rows([1]), small)])
        slotwise.save(tmp_path / "step-1", optimizer=opt, variables=[small])
        again, other = state(comm)
        other.apply_gradients([(rows([]), again)])  # so that all ranks have all of its slots
        slotwise.load(tmp_path / "step-1", optimizer=other, variables=[again])
        for each, var in ((opt, small), (other, again)):
            each.apply_gradients([(rows([1]), var)])
        return small.value.tobytes() == again.value.tobytes()

    assert in_threads(ranks, run) == [True] * ranks


def test_a_dynamic_loss_scale_with_rows_of_a_variable_that_all_have() -> None:
    def run(comm: Communicator) -> Any:
        small = slotwise.Variable(np.zeros((8, 1), np.float32), name="small")
        opt = optimizers.LossScaleOptimizer(optimizers.SGD(1.0, sparse="lazy", comm=comm))
        scale = float(np.asarray(opt.loss_scale))
        [grad] = opt.get_unscaled_gradients([rows([1], scale)])
        opt.apply_gradients([(grad, small)])
        return small.value[:3, 0].tolist()

    assert in_threads(2, run) == [[0.0, -2.0, 0.0]] * 2


@in_rows(ranks=[1, 2, 5])
def test_deltas_of_a_variable_smaller_than_the_number_of_ranks(ranks: int, tmp_path: Path) -> None:
    def run(comm: Communicator) -> Any:
        w, again = variable("w", [0]), variable("w", [0])
        opt, other = (optimizers.SGD(1.0, momentum=0.5, comm=comm) for _ in range(2))
        slotwise.track(w)
        opt.apply_gradients([(part(comm, [1]), w)])
        slotwise.save(tmp_path / "a", optimizer=opt, variables=[w])
        opt.apply_gradients([(part(comm, [1]), w)])
        slotwise.save_delta(tmp_path / "b", since=tmp_path / "a", optimizer=opt, variables=[w])
        slotwise.load(tmp_path / "a", optimizer=other, variables=[again], deltas=[tmp_path / "b"])
        return w.value.tolist(), again.value.tolist()

    assert in_threads(ranks, run) == [([-2.5], [-2.5])] * ranks


def test_the_only_rank_is_one_of_many() -> None:
    """What is refused on several ranks is refused on one: rows here have places of their own."""
    emb = ShardedTable((8, 1), name="emb", comm=distributed.local(), initializer=ROWS)
    grad = emb.lookup(np.array([1])).gradient(np.full((1, 1), 100, np.float32))
    with pytest.raises(TypeError, match=r"an optimizer with comm=, got a ShardedTable's"):
        optimizers.SGD(1.0, sparse="lazy").apply_gradients([(grad, emb.local)])
