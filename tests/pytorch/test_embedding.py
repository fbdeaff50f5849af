# SPDX-License-Identifier: Apache-2.0
"""Embedding and EmbeddingBag: torch's results, by other kernels."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise.torch as st
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def alike(kind: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """A module of torch and one of ours, of equal weights."""
    is_max = kwargs.get("mode") == "max"
    theirs = getattr(torch.nn, kind)(*args, sparse=not is_max, **kwargs)
    ours = getattr(st, kind)(*args, **kwargs)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def dense(grad: torch.Tensor) -> torch.Tensor:
    return grad.to_dense() if grad.is_sparse else grad


# ----- bags ---------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(some.data())
def test_bags_are_those_of_torch(data: some.DataObject) -> None:
    draw = data.draw
    dtype, mode = draw(some.sampled_from(FLOATS)), draw(some.sampled_from(["sum", "mean", "max"]))
    index = draw(some.sampled_from([torch.int32, torch.int64]))
    rows, width = draw(some.integers(1, 12)), draw(some.integers(1, 40))
    padding = draw(some.none() | some.integers(-rows, rows - 1))
    has_end = draw(some.booleans())
    seed = draw(some.integers(0, 1000))
    maker = torch.Generator().manual_seed(seed)
    sizes = draw(some.lists(some.integers(0, 6), min_size=1, max_size=8))
    theirs, ours = alike(
        "EmbeddingBag",
        rows,
        width,
        mode=mode,
        dtype=dtype,
        padding_idx=padding,
        include_last_offset=has_end,
    )
    ids = torch.randint(0, rows, (sum(sizes),), generator=maker).to(index)
    ends = torch.tensor(sizes).cumsum(0)
    offsets = torch.cat([ends.new_zeros(1), ends])[: len(sizes) + has_end].to(index)
    is_weighted = mode == "sum" and draw(some.booleans())
    grads = torch.randn(len(sizes), width, generator=maker).to(dtype)
    found: list[list[torch.Tensor]] = []
    for module in (theirs, ours):
        factors = None
        if is_weighted:
            factors = torch.randn(len(ids), generator=torch.Generator().manual_seed(seed))
            factors = factors.to(dtype).requires_grad_()
        out = module(ids, offsets, factors)
        out.backward(grads)
        with torch.inference_mode():
            assert torch.equal(module(ids, offsets, factors), out)
        found.append([out, dense(module.weight.grad)] + ([] if factors is None else [factors.grad]))
    narrow = dtype in (torch.float16, torch.bfloat16)
    tolerance = {"rtol": 0.05, "atol": 0.2 if dtype is torch.bfloat16 else 0.05} if narrow else {}
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype == dtype
        torch.testing.assert_close(other, one, **tolerance)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types_are_rounded_once(dtype: torch.dtype, mode: str) -> None:
    """The truth is float64's sum, rounded: torch's own may be further from it."""
    torch.manual_seed(0)
    module = st.EmbeddingBag(50, 33, mode=mode, dtype=dtype)
    ids = torch.randint(0, 50, (20, 7))
    exact = torch.nn.functional.embedding_bag(ids, module.weight.double(), mode=mode)
    torch.testing.assert_close(module(ids), exact.to(dtype), rtol=0, atol=0)


def test_bags_of_one_size() -> None:
    theirs, ours = alike("EmbeddingBag", 10, 3, mode="sum")
    for shape in ((4, 5), (4, 0), (0, 5)):
        ids = torch.randint(0, 10, shape)
        if 0 not in shape:
            torch.testing.assert_close(ours(ids), theirs(ids))
            torch.testing.assert_close(ours(ids.t()), theirs(ids.t()))
        weights = torch.rand(shape, requires_grad=True)
        out = ours(ids, per_sample_weights=weights)
        assert out.shape == (shape[0], 3)
        out.sum().backward()
        assert weights.grad is not None and weights.grad.shape == shape
        assert torch.equal(ours(ids).flatten()[:0], torch.empty(0))


def test_nested_ids() -> None:
    theirs, ours = alike("EmbeddingBag", 10, 3, mode="sum")
    ids = torch.nested.nested_tensor([torch.tensor([1, 2]), torch.tensor([4])], layout=torch.jagged)
    try:
        expected = theirs(ids)
    except RuntimeError:  # torch 2.5 takes none, and so do we there
        with pytest.raises(RuntimeError):
            ours(ids)
    else:
        torch.testing.assert_close(ours(ids), expected)


def test_an_expanded_gradient() -> None:
    theirs, ours = alike("EmbeddingBag", 10, 3, mode="mean")
    ids = torch.randint(0, 10, (4, 5))
    for module in (theirs, ours):
        module(ids).sum().backward()
    torch.testing.assert_close(dense(ours.weight.grad), dense(theirs.weight.grad))


def test_only_the_weights_of_ids_are_learned() -> None:
    module = st.EmbeddingBag(10, 3, mode="sum")
    module.weight.requires_grad_(False)
    ids = torch.randint(0, 10, (4, 5))
    weights, others = (torch.ones(4, 5, requires_grad=True) for _ in range(2))
    (module(ids, per_sample_weights=weights) ** 2).sum().backward()
    ((module.weight[ids] * others[..., None]).sum(1) ** 2).sum().backward()
    assert module.weight.grad is None
    torch.testing.assert_close(weights.grad, others.grad)


def test_bad_arguments_of_bags() -> None:
    module = st.EmbeddingBag(10, 3, mode="sum", padding_idx=1)
    ids, offsets = torch.tensor([1, 2, 3]), torch.tensor([0, 2])
    for bad in (torch.tensor([1, 10, 2]), torch.tensor([-1, 0, 2])):
        with pytest.raises(ValueError, match=r"is not in \[0, 10\)"):
            module(bad, offsets)
    for bad in (torch.tensor([1, 2]), torch.tensor([0, 4]), torch.tensor([0, 2, 1])):
        with pytest.raises(ValueError, match="offsets: expected them to ascend from 0"):
            module(ids, bad)
    with pytest.raises(ValueError, match="offsets: expected where bags begin, got None"):
        module(ids)
    with pytest.raises(ValueError, match="offsets: expected None for ids of rank 2"):
        module(ids[None], offsets)
    with pytest.raises(ValueError, match="input: expected rank 1 or 2, got rank 3"):
        module(ids[None, None])
    with pytest.raises(ValueError, match=r"per_sample_weights: expected shape \(3,\) like input"):
        module(ids, offsets, torch.ones(2))
    with pytest.raises(TypeError, match="expected dtype int32 or int64"):
        module(ids.float(), offsets)
    with pytest.raises(NotImplementedError, match="only supported for mode='sum'"):
        st.EmbeddingBag(10, 3)(ids, offsets, torch.ones(3))
    with pytest.raises(ValueError, match="one of sum, mean or max"):
        st.EmbeddingBag(10, 3, mode="middle")(ids, offsets)
    ending = st.EmbeddingBag(10, 3, include_last_offset=True)
    with pytest.raises(ValueError, match="offsets: expected them to ascend from 0 to at most 3"):
        ending(ids, offsets)


# ----- rows ---------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(some.data())
def test_rows_are_those_of_torch(data: some.DataObject) -> None:
    draw = data.draw
    dtype = draw(some.sampled_from(FLOATS))
    index = draw(some.sampled_from([torch.int32, torch.int64]))
    rows, width = draw(some.integers(1, 12)), draw(some.integers(1, 40))
    padding = draw(some.none() | some.integers(-rows, rows - 1))
    shape = draw(some.lists(some.integers(0, 4), min_size=1, max_size=3))
    theirs, ours = alike("Embedding", rows, width, dtype=dtype, padding_idx=padding)
    ids = torch.randint(0, rows, shape).to(index)
    grads = torch.randn(*shape, width).to(dtype)
    for module in (theirs, ours):
        module(ids).backward(grads)
    assert torch.equal(ours(ids), theirs(ids))
    assert torch.equal(ours.weight.grad._indices(), theirs.weight.grad._indices())
    assert torch.equal(ours.weight.grad._values(), theirs.weight.grad._values())
    with torch.no_grad():
        assert torch.equal(ours(ids), theirs(ids))


def test_one_row() -> None:
    module = st.Embedding(10, 3, padding_idx=2)
    out = module(torch.tensor(4))
    out.backward(torch.ones(3))
    assert torch.equal(out, module.weight[4])
    assert module.weight.grad.to_dense()[4].tolist() == [1, 1, 1]


def test_bad_arguments_of_rows() -> None:
    module = st.Embedding(10, 3)
    with pytest.raises(ValueError, match=r"ids\[1\] = 10 is not in \[0, 10\)"):
        module(torch.tensor([1, 10]))
    with pytest.raises(TypeError, match="expected dtype int32 or int64"):
        module(torch.tensor([1.0]))
    with pytest.raises(RuntimeError, match="Embedding: create_graph: expected False"):
        module(torch.tensor([1])).sum().backward(create_graph=True)


def test_ids_that_were_changed_before_backward() -> None:
    for module in (st.Embedding(10, 3), st.EmbeddingBag(10, 3)):
        ids = torch.tensor([[1, 2]])
        out = module(ids)
        ids += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()
    bag = st.EmbeddingBag(10, 3, mode="sum")
    out = bag(ids, per_sample_weights=torch.ones(1, 2, requires_grad=True))
    with torch.no_grad():
        bag.weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


# ----- what is torch's ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_max_norm_is_that_of_torch(kind: str) -> None:
    theirs, ours = alike(kind, 10, 3, max_norm=0.5)
    ids = torch.randint(0, 10, (4, 5))
    for module in (theirs, ours):
        module(ids).sum().backward()
    torch.testing.assert_close(ours(ids), theirs(ids), rtol=0, atol=0)
    assert torch.equal(ours.weight, theirs.weight)
    torch.testing.assert_close(dense(ours.weight.grad), dense(theirs.weight.grad))


@pytest.mark.parametrize("kind", [st.Embedding, st.EmbeddingBag])
def test_frequencies_need_a_dense_gradient(kind: Any) -> None:
    with pytest.raises(ValueError, match="scale_grad_by_freq: expected False"):
        kind(10, 3, scale_grad_by_freq=True)
    module = kind(10, 3, scale_grad_by_freq=True, sparse=False)
    twin = kind.__base__(10, 3, scale_grad_by_freq=True)
    twin.load_state_dict(module.state_dict())
    for each in (module, twin):
        each(torch.tensor([[1, 2, 1]])).sum().backward()
    assert not module.weight.grad.is_sparse
    torch.testing.assert_close(module.weight.grad, twin.weight.grad)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
def test_a_trace_computes_with_other_ids() -> None:
    ids, others = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]])
    for module in (st.Embedding(10, 3), st.EmbeddingBag(10, 3)):
        traced = torch.jit.trace(module, (ids,))
        torch.testing.assert_close(traced(others), module(others))
        with torch.no_grad():
            graph = torch.fx.experimental.proxy_tensor.make_fx(module)(ids)
            torch.testing.assert_close(graph(others), module(others))


@pytest.mark.filterwarnings("default")  # of torch.compile itself
def test_a_compiled_model_has_the_same_results() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.bag = st.Embedding(10, 4), st.EmbeddingBag(10, 4, mode="sum")
            self.dense = torch.nn.Linear(4, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            both = torch.relu(self.rows(ids).sum(1) * 2) + self.bag(ids)
            return self.dense(both)

    ops: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        ops.extend(node.op for node in graph.graph.nodes)
        return graph.forward

    model = Model()
    compiled = torch.compile(copy.deepcopy(model), backend=backend)
    for ids in (torch.randint(0, 10, (4, 5)), torch.randint(0, 10, (4, 5))):
        for each in (model, compiled):
            each.zero_grad()
            each(ids).sum().backward()
        torch.testing.assert_close(compiled(ids), model(ids))
        for (_, one), (_, other) in zip(
            model.named_parameters(), compiled.named_parameters(), strict=True
        ):
            torch.testing.assert_close(dense(other.grad), dense(one.grad))
    assert "call_function" in ops  # the rest is compiled


# ----- modules ------------------------------------------------------------------------------------


def test_they_are_modules_of_torch() -> None:
    rows, bag = st.Embedding(10, 3, padding_idx=2), st.EmbeddingBag(10, 3, padding_idx=-1)
    assert isinstance(rows, torch.nn.Embedding) and isinstance(bag, torch.nn.EmbeddingBag)
    assert repr(rows) == "Embedding(10, 3, padding_idx=2, sparse=True)"
    assert repr(bag) == "EmbeddingBag(10, 3, mode='mean', padding_idx=9)"
    assert rows.weight[2].abs().sum() == 0
    for module in (rows, bag):
        assert [*module.state_dict()] == ["weight"]
        ids = torch.tensor([[1, 2]])
        module(ids).sum().backward()
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(twin(ids), module(ids))


def test_from_pretrained() -> None:
    weights, ids = torch.randn(10, 3), torch.tensor([[1, 2]])
    kinds: tuple[Any, ...] = (st.Embedding, st.EmbeddingBag)
    for kind in kinds:
        frozen = kind.from_pretrained(weights)
        assert type(frozen) is kind
        assert not frozen.weight.requires_grad and not frozen(ids).requires_grad
        base: Any = kind.__base__
        torch.testing.assert_close(frozen(ids), base.from_pretrained(weights)(ids))
        module = kind.from_pretrained(weights, freeze=False)
        module(ids).sum().backward()
        assert module.weight.grad.is_sparse
        assert module.weight.data_ptr() == weights.data_ptr()


def test_weights_of_a_memory_map(tmp_path: Path) -> None:
    path, ids = tmp_path / "table", torch.tensor([[1, 2], [9, 2]])
    table = np.lib.format.open_memmap(path, "w+", np.float32, (10, 3))
    table[...] = np.arange(30).reshape(10, 3)
    bag = st.EmbeddingBag.from_pretrained(torch.from_numpy(table), freeze=False, mode="sum")
    assert bag(ids).tolist() == [[9, 11, 13], [33, 35, 37]]
    optimizer = torch.optim.SGD(bag.parameters(), lr=1.0)
    bag(ids).sum().backward()
    optimizer.step()
    assert table[2].tolist() == [4, 5, 6]
    table.flush()
    with pytest.warns(UserWarning, match="not writable"):
        kept = torch.from_numpy(np.load(path, mmap_mode="r"))
    for kind in (st.Embedding, st.EmbeddingBag):
        assert (
            kind.from_pretrained(kept)(ids)[0].sum()
            == kind.from_pretrained(kept.clone())(ids)[0].sum()
        )


@pytest.mark.parametrize("kind", [st.Embedding, st.EmbeddingBag])
def test_weights_that_cannot_be_used(kind: Any) -> None:
    ids = torch.tensor([[1, 2]])
    with pytest.raises((TypeError, ValueError), match=f"{kind.__name__}: weight: expected"):
        kind(10, 3, device="meta")(ids)
    with pytest.raises(ValueError, match="table: expected a C-contiguous array"):
        kind.from_pretrained(torch.ones(3, 10).t())(ids)


def test_threads_of_their_own() -> None:
    module = st.EmbeddingBag(100, 8, mode="sum")
    ids = torch.randint(0, 100, (50, 10))
    grads = []

    def learn() -> None:
        for _ in range(20):
            grads.append(torch.autograd.grad(module(ids).sum(), module.weight)[0].to_dense())

    threads = [threading.Thread(target=learn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(grads) == 80
    assert all(torch.equal(grad, grads[0]) for grad in grads)


@pytest.mark.parametrize("cls", ["Embedding", "EmbeddingBag"])
def test_a_large_table_begins_as_torchs(cls: str) -> None:
    """Its memory is another, the numbers are not; the generator has drawn as many."""
    found = []
    for module in (st, torch.nn):
        torch.manual_seed(1)
        layer = getattr(module, cls)(40_000, 16, padding_idx=3)
        found.append((layer.weight.detach(), torch.rand(1)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][0].data_ptr() % (2 << 20) == 0
