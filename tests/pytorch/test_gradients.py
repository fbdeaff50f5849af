# SPDX-License-Identifier: Apache-2.0
"""PooledGradient: a sparse tensor for all, and no expanded rows for the optimizers here."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slotwise
import slotwise.torch as st
import torch
from slotwise.torch._gradients import PooledGradient, slices_of

IDS = torch.tensor([3, 0, 7, 3, 5])
OFFSETS = torch.tensor([0, 2, 2])
GRADS = torch.arange(12.0).reshape(3, 4) - 5


def bags(mode: str = "mean", dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """An EmbeddingBag of torch and one of ours, of equal weights."""
    theirs = torch.nn.EmbeddingBag(8, 4, mode=mode, sparse=True, dtype=dtype)
    ours = st.EmbeddingBag(8, 4, mode=mode, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def backward(module: Any, grads: torch.Tensor = GRADS) -> torch.Tensor:
    module(IDS, OFFSETS).backward(grads.to(module.weight.dtype))
    return module.weight.grad


def is_pooled(grad: torch.Tensor) -> bool:
    return type(slices_of(grad)) is slotwise.PooledSlices


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_is_the_sparse_tensor_of_torch(dtype: torch.dtype) -> None:
    theirs, ours = (backward(module) for module in bags(dtype=dtype))
    assert isinstance(ours, PooledGradient)
    assert (ours.shape, ours.dtype, ours.layout) == (theirs.shape, dtype, torch.sparse_coo)
    assert ours.is_sparse and not ours.requires_grad and ours.device == theirs.device
    assert is_pooled(ours)
    assert ours._indices().tolist() == theirs._indices().tolist()
    torch.testing.assert_close(ours._values(), theirs._values())
    assert type(ours._values()) is torch.Tensor


def test_slices_have_the_values_of_the_tensor() -> None:
    _, module = bags()
    pooled = slices_of(backward(module))
    assert isinstance(pooled, slotwise.PooledSlices)
    expanded = pooled.values
    assert module.weight.grad._values().numpy().tolist() == expanded.tolist()
    after = slices_of(module.weight.grad)
    assert type(after) is slotwise.IndexedSlices
    assert np.asarray(after.values).tolist() == expanded.tolist()
    assert np.asarray(after.indices).tolist() == IDS.tolist()
    assert after.dense_shape == (8, 4)


USES: dict[str, Callable[[torch.Tensor], Any]] = {
    "to_dense": lambda g: g.to_dense(),
    "coalesce": lambda g: g.coalesce().values(),
    "repr": repr,
    "multiply": lambda g: (g * 2).to_dense(),
    "add": lambda g: (g + g).to_dense(),
    "add to dense": lambda g: torch.ones(8, 4) + g,
    "dense in place": lambda g: torch.ones(8, 4).add_(g),
    "norm": lambda g: g.norm(),
    "double": lambda g: g.double().to_dense(),
    "clone": lambda g: g.clone().to_dense(),
    "detach": lambda g: g.detach().to_dense(),
    "deepcopy": lambda g: copy.deepcopy(g).to_dense(),
    "pickle": lambda g: pickle.loads(pickle.dumps(g)).to_dense(),
    "stack": lambda g: torch.stack([g, g]).to_dense(),
    "sum": lambda g: torch.sparse.sum(g),
    "index_select": lambda g: g.index_select(0, torch.tensor([3])).to_dense(),
    "nnz": lambda g: (g._nnz(), g.is_coalesced(), g.sparse_dim(), g.dense_dim()),
    "keyword": lambda g: torch.mul(input=g, other=3.0).to_dense(),
}


@pytest.mark.parametrize("name", USES)
def test_any_use_is_that_of_the_sparse_tensor(name: str) -> None:
    theirs, ours = (backward(module) for module in bags())
    expected, found = USES[name](theirs), USES[name](ours)
    if isinstance(expected, torch.Tensor):
        assert type(found) is torch.Tensor
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    else:
        assert found == expected


CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "mul_": lambda g: g.mul_(0.5),
    "values": lambda g: g._values().mul_(-3),
    "zero_": lambda g: g.zero_(),
    "add_": lambda g: g.add_(g.clone()),
    "foreach": lambda g: torch._foreach_mul_([g], 0.5),
    "out of an alias": lambda g: g.detach()._values().fill_(2),
    "neg_": lambda g: g.neg_(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_in_place_counts(name: str) -> None:
    theirs, ours = (backward(module) for module in bags())
    CHANGES[name](theirs)
    CHANGES[name](ours)
    torch.testing.assert_close(ours.to_dense(), theirs.to_dense(), rtol=0, atol=0)
    found = slices_of(ours)
    assert type(found) is slotwise.IndexedSlices
    whole = np.zeros((8, 4), np.float32)
    np.add.at(whole, np.asarray(found.indices), np.asarray(found.values))
    np.testing.assert_array_equal(whole, theirs.to_dense().numpy())


def test_in_place_returns_the_gradient_itself() -> None:
    _, module = bags()
    grad = backward(module)
    assert grad.mul_(2) is grad
    before = module.weight.grad
    module.weight.grad *= 2
    assert module.weight.grad is before


def test_reading_what_any_tensor_has_makes_no_tensor() -> None:
    _, module = bags()
    grad = backward(module)
    assert (grad.size(), grad.dim(), grad.numel(), grad.ndim) == ((8, 4), 2, 32, 2)
    assert grad.is_floating_point() and grad.grad_fn is None and hash(grad) == id(grad)
    assert is_pooled(grad) and is_pooled(grad.detach()) and is_pooled(grad.clone())


def test_an_alias_is_the_same_gradient_and_a_clone_is_not() -> None:
    _, module = bags()
    grad = backward(module)
    alias, clone = grad.detach(), grad.clone()
    before = clone.to_dense()
    grad.mul_(0)
    assert alias.to_dense().abs().sum() == 0
    assert torch.equal(clone.to_dense(), before)
    assert is_pooled(backward(bags()[1]))


# ----- adding up ----------------------------------------------------------------------------------


def twice_in_a_row(module: Any) -> None:
    module(IDS, OFFSETS).backward(GRADS)
    module(IDS.flip(0), OFFSETS).backward(GRADS * 3)


def twice_in_a_graph(module: Any) -> None:
    first, second = module(IDS, OFFSETS), module(IDS.flip(0)[:4], OFFSETS)
    (first * GRADS + second * GRADS.flip(0)).sum().backward()


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("use", [twice_in_a_row, twice_in_a_graph])
def test_gradients_add_up_without_being_expanded(use: Any, mode: str) -> None:
    theirs, ours = bags(mode)
    use(theirs)
    use(ours)
    assert is_pooled(ours.weight.grad)
    summed = slices_of(ours.weight.grad)
    assert summed is not None
    whole = np.zeros((8, 4), np.float32)
    np.add.at(whole, np.asarray(summed.indices), summed.values)
    np.testing.assert_allclose(whole, theirs.weight.grad.to_dense(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


def test_weighted_gradients_add_up() -> None:
    theirs, ours = bags("sum")
    for module in (theirs, ours):
        for factor in (1.0, 2.0):
            weights = torch.arange(5.0) * factor
            module(IDS, OFFSETS, weights).backward(GRADS)
    assert is_pooled(ours.weight.grad)
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


def test_bags_of_two_kinds_of_one_weight_add_up() -> None:
    theirs, ours = bags("sum")
    for module in (theirs, ours):
        other = type(module)(8, 4, mode="mean", sparse=True, _weight=None)
        other.weight = module.weight
        (module(IDS, OFFSETS) + other(IDS, OFFSETS)).backward(GRADS)
    assert type(slices_of(ours.weight.grad)) is slotwise.IndexedSlices
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("together", [True, False])
def test_it_adds_to_gradients_of_torch(order: tuple[int, int], kind: str, together: bool) -> None:
    grads = []
    for module in bags("sum"):

        def embed(module: Any = module) -> torch.Tensor:
            return (module(IDS, OFFSETS) * GRADS).sum()

        def other(module: Any = module) -> torch.Tensor:
            if kind == "dense":
                return (module.weight[:3] * GRADS).sum()
            return torch.nn.functional.embedding(IDS, module.weight, sparse=True).sum()

        uses = [(embed, other)[i] for i in order]
        if together:
            sum(use() for use in uses).backward()
        else:
            for use in uses:
                use().backward()
        grads.append(module.weight.grad)
    dense = [g.to_dense() if g.is_sparse else g.detach() for g in grads]
    assert grads[0].is_sparse == grads[1].is_sparse == (kind == "sparse")
    torch.testing.assert_close(dense[1], dense[0])
    assert (slices_of(grads[1]) is None) == (kind == "dense")


def test_after_it_was_changed_another_backward_adds_to_that() -> None:
    theirs, ours = bags()
    for module in (theirs, ours):
        backward(module).mul_(10)
        backward(module)
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


# ----- hooks, autograd.grad -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "hook",
    [
        lambda grad: grad * 2,
        lambda grad: grad.coalesce(),
        lambda grad: torch.sparse_coo_tensor(grad._indices(), -grad._values(), grad.shape),
        lambda grad: None,
    ],
)
def test_a_hook_gets_the_sparse_tensor(hook: Callable[[torch.Tensor], Any]) -> None:
    theirs, ours = bags()
    types = set[type]()

    def observed(grad: torch.Tensor) -> Any:
        types.add(type(grad))
        return hook(grad)

    with torch.sparse.check_sparse_tensor_invariants():
        for module in (theirs, ours):
            module.weight.register_hook(observed)
            backward(module)
    assert types == {torch.Tensor}
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


def test_what_others_hold_as_well_is_copied() -> None:
    _, module = bags()
    kept: list[torch.Tensor] = []
    node = torch.autograd.graph.get_gradient_edge(module.weight).node
    node.register_prehook(lambda grads: kept.extend(grads))
    grad = backward(module)
    assert is_pooled(grad) and is_pooled(kept[0])
    grad.mul_(0)
    assert kept[0].to_dense().abs().sum() > 0


def test_a_weight_that_was_computed() -> None:
    theirs, ours = bags("sum")
    grads = []
    for module in (theirs, ours):
        base = torch.nn.Parameter(torch.ones(8, 4))
        del module.weight
        module.weight = base * 2
        module(IDS, OFFSETS).backward(GRADS)
        grads.append(base.grad)
    assert grads[0] is not None and grads[1] is not None
    torch.testing.assert_close(grads[1].to_dense(), grads[0].to_dense())


def test_anomalies_are_looked_for_as_in_torch() -> None:
    outcomes = []
    for module in bags():
        try:
            with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():
                outcomes.append(backward(module).to_dense())
        except (RuntimeError, NotImplementedError) as error:
            outcomes.append(type(error))
    torch.testing.assert_close(outcomes[1], outcomes[0])


def test_autograd_grad_returns_it() -> None:
    theirs, ours = (torch.autograd.grad(m(IDS, OFFSETS), m.weight, GRADS)[0] for m in bags("sum"))
    assert is_pooled(ours)
    torch.testing.assert_close(ours.to_dense(), theirs.to_dense())


def test_a_second_derivative_is_refused() -> None:
    _, module = bags()
    with pytest.raises(RuntimeError, match="EmbeddingBag: create_graph: expected False"):
        module(IDS, OFFSETS).sum().backward(create_graph=True)
    assert module.weight.grad is None


# ----- memory that it refers to -------------------------------------------------------------------


@pytest.mark.parametrize("what", ["ids", "grads"])
def test_it_notices_that_its_sources_were_changed(what: str) -> None:
    _, module = bags()
    ids, grads = IDS.clone(), GRADS.clone()
    module(ids, OFFSETS).backward(grads)
    (ids if what == "ids" else grads).zero_()
    with pytest.raises(ValueError, match="they were changed in place"):
        slices_of(module.weight.grad)
    with pytest.raises(ValueError, match="they were changed in place"):
        module.weight.grad.to_dense()


def test_it_notices_a_gradient_that_shares_its_memory() -> None:
    """Autograd gives the memory of one gradient to two parameters, if one of them is viewed."""
    _, module = bags()
    shift = torch.nn.Parameter(torch.zeros(12))
    (module(IDS, OFFSETS) + shift.view(3, 4)).backward(GRADS.clone())
    before = module.weight.grad.clone().to_dense()
    assert shift.grad is not None
    shift.grad.mul_(0)
    try:
        after = module.weight.grad.to_dense()
    except ValueError:
        return
    assert torch.equal(after, before)


def test_learned_weights_may_be_updated_first() -> None:
    theirs, ours = bags("sum")
    for module in (theirs, ours):
        weights = torch.nn.Parameter(torch.arange(5.0))
        module(IDS, OFFSETS, weights).backward(GRADS)
        torch.optim.SGD([weights], lr=1.0).step()
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


# ----- those who take it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.Adagrad(p, lr=0.1),
        lambda p: torch.optim.SparseAdam(p, lr=0.1),
    ],
    ids=["SGD", "Adagrad", "SparseAdam"],
)
def test_optimizers_of_torch_take_it(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    theirs, ours = bags()
    for module in (theirs, ours):
        optimizer = make(module.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            backward(module)
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    theirs, ours = bags()
    for module in (theirs, ours):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        backward(module)
        optimizer.zero_grad(set_to_none=set_to_none)
        assert set_to_none == (module.weight.grad is None)
        backward(module)
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


def test_a_grad_scaler_divides_it() -> None:
    theirs, ours = bags()
    for module in (theirs, ours):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
        scaler.scale(module(IDS, OFFSETS).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_clipping_by_norm_is_that_of_torch() -> None:
    theirs, ours = bags()
    outcomes = []
    for module in (theirs, ours):
        backward(module)
        try:
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            outcomes.append(module.weight.grad.to_dense())
        except NotImplementedError as error:  # torch has no norm of sparse tensors
            outcomes.append(str(error)[:40])
    if isinstance(outcomes[0], str):
        assert outcomes[1] == outcomes[0]
    else:
        torch.testing.assert_close(outcomes[1], outcomes[0])


def test_a_module_is_converted_with_its_gradient() -> None:
    theirs, ours = bags()
    for module in (theirs, ours):
        backward(module)
        module.double()
        assert module.weight.grad.dtype == torch.float64
        backward(module)
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


def test_it_is_saved_as_a_sparse_tensor() -> None:
    theirs, ours = (backward(module) for module in bags())
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert type(loaded) is torch.Tensor
    assert torch.equal(loaded.to_dense(), theirs.to_dense())


def test_the_update_is_that_of_expanded_gradients() -> None:
    _, module = bags()
    pooled = slices_of(backward(module))
    expanded = slices_of(module.weight.grad.clone().mul_(1))
    tables = []
    for slices in (pooled, expanded):
        table = slotwise.Variable(module.weight.detach().numpy().copy(), name="table")
        slotwise.optimizers.Adagrad(0.1).apply_gradients([(slices, table)])
        tables.append(table.numpy())
    np.testing.assert_array_equal(*tables)


# ----- slices of other tensors --------------------------------------------------------------------


def test_slices_of_a_sparse_tensor_are_over_its_memory() -> None:
    grad = torch.sparse_coo_tensor([[2, 0, 2]], torch.arange(12.0).reshape(3, 4), (5, 4))
    slices = slices_of(grad)
    assert type(slices) is slotwise.IndexedSlices
    assert np.asarray(slices.values).ctypes.data == grad._values().data_ptr()
    assert np.asarray(slices.indices).ctypes.data == grad._indices().data_ptr()
    assert np.asarray(slices.indices).tolist() == [2, 0, 2]


def test_slices_of_other_tensors() -> None:
    assert slices_of(torch.ones(3)) is None
    elements = slices_of(torch.eye(3).to_sparse())  # rows of a table that is seen as a list
    assert elements is not None
    assert elements.dense_shape == (9,)
    assert np.asarray(elements.indices).tolist() == [0, 4, 8]
    with pytest.raises(ValueError, match=r"slices_of: grad: expected .* rows lie together"):
        slices_of(torch.tensor(3.0).to_sparse())
    with pytest.warns(UserWarning, match="beta"):
        rows = torch.eye(3).to_sparse_csr()
    with pytest.raises(ValueError, match=r"slices_of: grad: .* torch.sparse_csr"):
        slices_of(rows)
