# SPDX-License-Identifier: Apache-2.0
"""fuse: the update happens in backward, and is the one that step would have made."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest
import slotwise.torch as st
import torch

IDS = torch.tensor([[1, 2, 1], [4, 0, 9]])
TABLES = {"a": (10, 2), "b": (10, 3)}


class Model(torch.nn.Module):
    """Tables of every kind, and what follows them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = st.EmbeddingBagCollection(TABLES)
        self.bag = st.EmbeddingBag(10, 5)
        self.rows = st.Embedding(10, 5)
        self.dense = torch.nn.Linear(5, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        pooled = self.tables(dict.fromkeys(TABLES, ids)) + self.bag(ids) + self.rows(ids).sum(1)
        return self.dense(torch.tanh(pooled)).sum()


def zeros(dtype: torch.dtype = torch.float32) -> Any:
    return st.EmbeddingBag.from_pretrained(torch.zeros(10, 2, dtype=dtype), False, mode="sum")


by_optimizers = pytest.mark.parametrize(
    "make",
    [lambda p: st.SGD(p, lr=0.1), lambda p: st.Adagrad(p, lr=0.1)],
    ids=["SGD", "Adagrad"],
)


@by_optimizers
@pytest.mark.parametrize("part", ["all", "tables", "modules", "parameters"])
def test_the_update_is_that_of_step(make: Any, part: str) -> None:
    plain, fused = Model(), Model()
    fused.load_state_dict(plain.state_dict())
    parts = {
        "all": fused,
        "tables": fused.tables,
        "modules": [fused.tables, fused.bag, fused.dense],
        "parameters": [fused.bag.weight, fused.dense.bias],
    }
    first, second = make(plain.parameters()), make(fused.parameters())
    handle = st.fuse(second, parts[part])
    for _ in range(3):
        first.zero_grad()
        second.zero_grad()
        plain(IDS).backward()
        fused(IDS).backward()
        assert all(parameter.grad is None for parameter in handle.parameters)
        first.step()
        second.step()
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(other, one)


def test_all_tables_are_updated_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    optimizer = st.SGD(model.parameters(), lr=0.1)
    calls: list[list[Any]] = []
    monkeypatch.setattr(optimizer, "_update", calls.append)
    st.fuse(optimizer, [model.tables, model.bag, model.rows])
    model(IDS).backward()
    assert len(calls) == 1
    assert {id(parameter) for _, parameter in calls[0]} == {
        id(p) for module in (model.tables, model.bag, model.rows) for p in module.parameters()
    }


def test_every_backward_updates() -> None:
    bag = zeros()
    handle = st.fuse(st.SGD(bag.parameters(), lr=1.0), bag)
    for _ in range(2):
        bag(IDS).sum().backward()
    assert bag.weight[:3, 0].tolist() == [-2, -4, -2]
    handle.remove()
    handle.remove()
    bag(IDS).sum().backward()
    assert bag.weight.grad is not None
    assert bag.weight[:3, 0].tolist() == [-2, -4, -2]


def test_a_table_that_is_used_twice_in_a_graph_is_updated_once() -> None:
    plain, fused = (st.EmbeddingBag(10, 2, mode="sum") for _ in range(2))
    fused.load_state_dict(plain.state_dict())
    first, second = (st.Adagrad(module.parameters(), lr=0.1) for module in (plain, fused))
    st.fuse(second, fused)
    for module in (plain, fused):
        weights = torch.full((2, 3), 0.5, requires_grad=True)
        (module(IDS, per_sample_weights=weights) * module(IDS.flip(0))).sum().backward()
    first.step()
    torch.testing.assert_close(fused.weight, plain.weight)


def test_learned_weights_see_the_table_before_the_update() -> None:
    found = []
    for is_fused in (False, True):
        torch.manual_seed(0)
        bag = st.EmbeddingBag(10, 2, mode="sum")
        if is_fused:
            st.fuse(st.SGD(bag.parameters(), lr=1.0), bag)
        weights = torch.ones(2, 3, requires_grad=True)
        (
            bag(IDS, per_sample_weights=weights) + bag(IDS, per_sample_weights=weights)
        ).sum().backward()
        found.append(weights.grad)
    torch.testing.assert_close(found[1], found[0])


def test_a_closure_updates_once() -> None:
    bag = zeros()
    optimizer = st.SGD(bag.parameters(), lr=1.0)
    st.fuse(optimizer, bag)

    def closure() -> torch.Tensor:
        loss = bag(IDS).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert bag.weight[:3, 0].tolist() == [-1, -2, -1]


def test_autograd_grad_updates_nothing() -> None:
    bag = zeros()
    st.fuse(st.SGD(bag.parameters(), lr=1.0), bag)
    (grad,) = torch.autograd.grad(bag(IDS).sum(), bag.weight)
    assert grad.is_sparse and not bag.weight.any() and bag.weight.grad is None


def test_after_a_backward_that_failed() -> None:
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            raise KeyError("on purpose")

    first, second = zeros(), zeros()
    st.fuse(st.SGD([first.weight, second.weight], lr=1.0), [first, second])
    bad = Failing.apply(second(IDS))
    with pytest.raises(KeyError, match="on purpose"):
        (first(IDS) + bad).sum().backward()
    assert not first.weight.any() and not second.weight.any()
    first(IDS).sum().backward()
    assert first.weight[:3, 0].tolist() == [-1, -2, -1]


def test_threads_in_turn() -> None:
    bag, lock = zeros(torch.float64), threading.Lock()
    handle = st.fuse(st.SGD(bag.parameters(), lr=1.0), bag)

    def learn() -> None:
        for _ in range(25):
            loss = bag(IDS).sum()
            with lock:
                loss.backward()

    threads = [threading.Thread(target=learn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bag.weight.grad is None
    assert bag.weight[:3, 0].tolist() == [-50, -100, -50]
    with pytest.raises(RuntimeError, match="fuse: expected one backward at a time"):
        handle._take(bag.weight)  # as it is called after another thread took the gradient


def test_copies_are_not_fused() -> None:
    bag = st.EmbeddingBag(10, 2, mode="sum")
    st.fuse(st.SGD(bag.parameters(), lr=1.0), bag)
    for twin in (copy.deepcopy(bag), pickle.loads(pickle.dumps(bag))):
        twin(IDS).sum().backward()
        assert twin.weight.grad is not None


def test_bad_arguments() -> None:
    bag = st.EmbeddingBag(10, 2)
    optimizer = st.SGD(bag.parameters(), lr=1.0)
    with pytest.raises(TypeError, match=r"fuse: optimizer: expected one of slotwise.torch"):
        st.fuse(torch.optim.SGD(bag.parameters(), lr=1.0), bag)
    for other in (3, [3]):
        with pytest.raises(TypeError, match="fuse: expected modules or parameters, got int"):
            st.fuse(optimizer, other)
    with pytest.raises(ValueError, match=r"parameter 0 of shape \(5, 2\): expected one of the opt"):
        st.fuse(optimizer, st.EmbeddingBag(5, 2))
    handle = st.fuse(optimizer, bag)
    assert handle.optimizer is optimizer and handle.parameters == [bag.weight]
    with pytest.raises(ValueError, match="expected one that is not fused already"):
        st.fuse(optimizer, [bag.weight])
    handle.remove()
    st.fuse(optimizer, [bag.weight, bag]).remove()
    bag.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="expected a leaf that requires a gradient"):
        st.fuse(optimizer, bag)
