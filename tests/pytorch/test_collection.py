# SPDX-License-Identifier: Apache-2.0
"""EmbeddingBagCollection: what a module for each table gives, in one call."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import slotwise
import slotwise.torch as st
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from slotwise.torch._gradients import slices_of

TABLES = {"user": (20, 4), "word": (50, 8), "shop": (7, 3)}


class Keyed:
    """What TorchRec's KeyedJaggedTensor has of use here."""

    def __init__(self, keys: list[str], values: Any, lengths: Any, weights: Any = None) -> None:
        self._keys, self._values, self._lengths, self._weights = keys, values, lengths, weights

    def keys(self) -> list[str]:
        return self._keys

    def values(self) -> torch.Tensor:
        return self._values

    def lengths(self) -> torch.Tensor:
        return self._lengths

    def weights_or_none(self) -> torch.Tensor | None:
        return self._weights


def alike(mode: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """A dict of torch's modules, and a collection of equal weights."""
    theirs = torch.nn.ModuleDict(
        {
            name: torch.nn.EmbeddingBag(*shape, mode=mode, sparse=True, dtype=dtype)
            for name, shape in TABLES.items()
        }
    )
    ours = st.EmbeddingBagCollection(TABLES, mode=mode, dtype=dtype)
    ours.embedding_bags.load_state_dict(theirs.state_dict())
    return theirs, ours


def draw_ids(sizes: list[list[int]]) -> list[torch.Tensor]:
    return [
        torch.randint(0, rows, (sum(own),))
        for own, (rows, _) in zip(sizes, TABLES.values(), strict=True)
    ]


def starts(sizes: list[int]) -> torch.Tensor:
    lengths = torch.tensor(sizes)
    return lengths.cumsum(0) - lengths


FORMS = ["dict", "jagged", "lengths", "keyed"]


@settings(max_examples=80)
@given(some.data())
def test_a_collection_is_a_module_for_each_table(data: some.DataObject) -> None:
    draw = data.draw
    mode = draw(some.sampled_from(["sum", "mean"]))
    dtype = draw(some.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    form, bags = draw(some.sampled_from(FORMS)), draw(some.integers(1, 5))
    is_weighted = mode == "sum" and draw(some.booleans())
    sizes = [draw(some.lists(some.integers(0, 4), min_size=bags, max_size=bags)) for _ in range(3)]
    torch.manual_seed(draw(some.integers(0, 1000)))
    theirs, ours = alike(mode, dtype)
    ids = draw_ids(sizes)
    factors = [torch.rand(len(own)).to(dtype) for own in ids]
    grads = torch.randn(bags, 15).to(dtype)
    found = []
    for is_ours in (False, True):
        weights: Any = [own.clone().requires_grad_() for own in factors]
        if not is_weighted:
            weights = [None] * 3
        offsets = [starts(own) for own in sizes]
        if is_ours:
            out = ours(*arguments(form, ids, sizes, offsets, weights))
        else:
            parts = zip(theirs.values(), ids, offsets, weights, strict=True)
            out = torch.cat([module(*own) for module, *own in parts], 1)
        out.backward(grads)
        modules = ours.embedding_bags if is_ours else theirs
        found.append(
            [out.detach()]
            + [module.weight.grad.to_dense() for module in modules.values()]
            + [own.grad for own in weights if own is not None]
        )
    tolerance = {"rtol": 0.05, "atol": 0.1} if dtype is torch.bfloat16 else {}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, **tolerance)


def arguments(form: str, ids: Any, sizes: Any, offsets: Any, weights: Any) -> tuple[Any, ...]:
    """The same ids in each form that forward takes."""
    has_weights = weights[0] is not None
    if form == "dict":
        parts = zip(TABLES, ids, offsets, weights, strict=True)
        return ({name: tuple(own) if has_weights else tuple(own[:2]) for name, *own in parts},)
    if form == "jagged":
        return (slotwise.Jagged(ids, offsets, weights if has_weights else None),)
    joined = torch.cat(weights) if has_weights else None
    lengths = torch.tensor(sizes).flatten()
    if form == "lengths":
        return torch.cat(ids), lengths, joined
    order = [2, 0, 1]
    names = [[*TABLES][i] for i in order]
    values = torch.cat([ids[i] for i in order])
    lengths = torch.tensor([sizes[i] for i in order]).flatten()
    joined = torch.cat([weights[i] for i in order]) if has_weights else None
    return (Keyed(names, values, lengths, joined),)


def test_bags_of_one_size_and_a_weighted_table() -> None:
    ours = st.EmbeddingBagCollection({"a": (10, 2), "b": (10, 3)})
    ids, factors = torch.tensor([[1, 2], [3, 3]]), torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    out = ours({"b": (ids, None, factors), "a": ids})
    a, b = (bag.weight for bag in ours.embedding_bags.values())
    torch.testing.assert_close(out[0, :2], a[1] + a[2])
    torch.testing.assert_close(out[1, 2:], 3 * b[3])


def test_what_split_jagged_returns() -> None:
    _, ours = alike("sum")
    values, lengths = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([2, 0, 1, 0, 1, 1])
    jagged = slotwise.split_jagged(values, lengths, 3, torch.ones(5))
    assert torch.equal(ours(jagged), ours(values, lengths))


def test_gradients_refer_to_columns_of_the_output() -> None:
    _, ours = alike("sum")
    ids = draw_ids([[2, 1]] * 3)
    grads = torch.randn(2, 15)
    given = dict(zip(TABLES, zip(ids, [torch.tensor([0, 2])] * 3, strict=True), strict=True))
    ours(given).backward(grads)
    found = [slices_of(bag.weight.grad) for bag in ours.embedding_bags.values()]
    for slices, column in zip(found, (0, 4, 12), strict=True):
        assert isinstance(slices, slotwise.PooledSlices)
        assert slices.grads.ctypes.data == grads.data_ptr() + 4 * column


def test_tables_of_two_types() -> None:
    ours = st.EmbeddingBagCollection({"a": (10, 2), "b": (10, 3)})
    ours.embedding_bags["b"].double()
    ids = torch.tensor([[1, 2]])
    out = ours({"a": ids, "b": ids})
    assert out.dtype == torch.float64
    out.sum().backward()
    for bag in ours.embedding_bags.values():
        assert bag.weight.grad.dtype == bag.weight.dtype
        assert bag.weight.grad.to_dense()[1].tolist() == [1] * bag.embedding_dim


def test_a_table_that_is_not_learned() -> None:
    ours = st.EmbeddingBagCollection({"a": (10, 2), "b": (10, 3)})
    ours.embedding_bags["a"].weight.requires_grad_(False)
    ids = torch.tensor([[1, 2]])
    ours({"a": ids, "b": ids}).sum().backward()
    assert ours.embedding_bags["a"].weight.grad is None
    assert ours.embedding_bags["b"].weight.grad.to_dense()[2].tolist() == [1, 1, 1]
    with torch.no_grad():
        assert not ours({"a": ids, "b": ids}).requires_grad


def test_it_is_a_module() -> None:
    ours = st.EmbeddingBagCollection(TABLES, mode="mean", dtype=torch.float64)
    assert [*ours.state_dict()] == [f"embedding_bags.{name}.weight" for name in TABLES]
    assert all(p.dtype == torch.float64 for p in ours.parameters())
    ids = dict.fromkeys(TABLES, torch.tensor([[1, 2], [3, 4]]))
    assert torch.equal(copy.deepcopy(ours)(ids), ours(ids))
    twin = st.EmbeddingBagCollection(TABLES, mode="mean", dtype=torch.float64)
    twin.load_state_dict(ours.state_dict())
    assert torch.equal(twin(ids), ours(ids))
    assert "mode='mean'" in repr(ours)
    one = st.EmbeddingBagCollection({"a": (5, 2)})
    assert one({"a": torch.tensor([[1], [2]])}).shape == (2, 2)


@pytest.mark.filterwarnings("default")  # of torch.compile itself
def test_a_compiled_model_has_the_same_results() -> None:
    model = torch.nn.Sequential(st.EmbeddingBagCollection(TABLES), torch.nn.Linear(15, 1))
    compiled = torch.compile(model, backend="eager")
    ids = dict.fromkeys(TABLES, torch.tensor([[1, 2], [3, 4]]))
    torch.testing.assert_close(compiled(ids), model(ids))


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
def test_a_trace_is_refused() -> None:
    ours = st.EmbeddingBagCollection({"a": (5, 2)})
    with pytest.raises(RuntimeError, match="expected a call that torch does not record"):
        torch.jit.trace(ours, (torch.tensor([1, 2]), torch.tensor([1, 1])))


def test_bad_arguments() -> None:
    op = "EmbeddingBagCollection"
    with pytest.raises(ValueError, match=f"{op}: mode: expected 'sum' or 'mean', got 'max'"):
        st.EmbeddingBagCollection(TABLES, mode="max")
    with pytest.raises(ValueError, match=f"{op}: tables: expected at least one"):
        st.EmbeddingBagCollection({})
    ours = st.EmbeddingBagCollection({"a": (5, 2), "b": (6, 2)})
    ids, offsets = torch.tensor([1, 4]), torch.tensor([0, 1])
    for names in (["a"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match=f"{op}: features: expected those of"):
            ours(dict.fromkeys(names, (ids, offsets)))
    with pytest.raises(TypeError, match=f"{op}: features: expected a dict"):
        ours([ids, ids])
    with pytest.raises(ValueError, match=f"{op}: lengths: expected how many"):
        ours(ids)
    with pytest.raises(ValueError, match=f"{op}: lengths, weights: expected them with a tensor"):
        ours({"a": (ids, offsets), "b": (ids, offsets)}, offsets)
    with pytest.raises(ValueError, match=r"offsets\['b'\]: expected where bags begin"):
        ours({"a": (ids, offsets), "b": ids})
    with pytest.raises(ValueError, match=f"{op}: features: expected ids and offsets of 2 tables"):
        ours(slotwise.Jagged([ids], [offsets]))
    with pytest.raises(ValueError, match=f"{op}: features: expected each key once"):
        ours(Keyed(["a", "a"], ids, torch.tensor([1, 1])))
    with pytest.raises(ValueError, match="as many bags as"):
        ours({"a": (ids, offsets), "b": (ids, offsets[:1])})
    with pytest.raises(ValueError, match=r"ids\[0\]\[1\] = 5 is not in \[0, 5\)"):
        ours({"a": (ids + 1, offsets), "b": (ids, offsets)})
    with pytest.raises(ValueError, match="lengths: expected numbers >= 0 whose sum is 2"):
        ours(ids, torch.tensor([1, 2, 3, 4]))
    with pytest.raises(ValueError, match=f"{op}: weights: expected shape"):
        ours(ids, torch.tensor([1, 1]), torch.ones(3))
    for broken in ((ids, offsets, None, None), (ids,)):
        with pytest.raises(ValueError, match=r"features\[.a.\]: expected ids, offsets"):
            ours({"a": broken, "b": (ids, offsets)})
    out = ours({"a": (ids, offsets), "b": (ids, offsets)})
    with pytest.raises(RuntimeError, match=f"{op}: create_graph: expected False"):
        out.sum().backward(create_graph=True)
