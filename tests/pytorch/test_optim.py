# SPDX-License-Identifier: Apache-2.0
"""Optimizers for PyTorch against torch.optim's: numbers, state, and what training loops do."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slotwise.torch as st
import torch
from support.torch_cases import (
    CASES,
    NAMES,
    PER_ELEMENT,
    case_id,
    give_gradients,
    ours,
    parameters,
    two_lists,
)


def theirs(name: str, params: Any, **options: Any) -> Any:
    return getattr(torch.optim, name)(params, **options)


def gaps(params: list[torch.nn.Parameter], exact: list[torch.nn.Parameter]) -> torch.Tensor:
    """By how much each element is off."""
    pairs = zip(params, exact, strict=True)
    return torch.cat([(p.detach().double() - q.detach()).flatten() for p, q in pairs])


def rms(params: list[torch.nn.Parameter], exact: list[torch.nn.Parameter]) -> float:
    return float(gaps(params, exact).square().mean().sqrt())


def assert_close(
    params: list[torch.nn.Parameter], others: list[torch.nn.Parameter], rtol: float = 2e-5
) -> None:
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=rtol, atol=rtol / 10)


# ----- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_float32_is_as_exact_as_torch(name: str, options: dict[str, Any]) -> None:
    shapes = [(64, 33), (777,)]
    a, b, exact = parameters(shapes=shapes), parameters(shapes=shapes), parameters(shapes=shapes)
    exact = [torch.nn.Parameter(p.detach().double()) for p in exact]
    fused = {"fused": True} if name in ("SGD", "Adam", "AdamW", "Adagrad") else {}
    optimizers = [ours(name, a, **options), theirs(name, b, **options, **fused)]
    optimizers.append(theirs(name, exact, **options))
    for step in range(40):
        give_gradients(step, a, b, exact)
        for optimizer in optimizers:
            optimizer.step()
    assert rms(a, exact) <= 2 * rms(b, exact)


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_float64_follows_torch(name: str, options: dict[str, Any]) -> None:
    follow(name, options, torch.float64)


# (Adafactor has none, in torch or here: see test_torch_habits.py.)
@pytest.mark.parametrize(("name", "options"), PER_ELEMENT, ids=case_id)
def test_complex_parameters_follow_torch(name: str, options: dict[str, Any]) -> None:
    follow(name, options, torch.complex128)


def follow(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    a, b = two_lists(name, dtype)
    mine, other = ours(name, a, **options), theirs(name, b, **options)
    for step in range(12):
        give_gradients(step, a, b)
        mine.step()
        other.step()
    assert_close(a, b, 1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_16_bit_parameters(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    shapes = [(64, 33), (777,)]
    a, b = parameters(dtype=dtype, shapes=shapes), parameters(dtype=dtype, shapes=shapes)
    exact = [torch.nn.Parameter(p.detach().double()) for p in a]
    optimizers = [ours(name, a, **options), theirs(name, b, **options)]
    optimizers.append(theirs(name, exact, **options))
    for step in range(10):
        give_gradients(step, a, b, exact)
        for optimizer in optimizers:
            optimizer.step()
    assert all(p.dtype == dtype for p in a)
    # Where float16 has no room for an epsilon and a square, torch's step may be infinite; ours not.
    own, its = gaps(a, exact), gaps(b, exact)
    assert own.isfinite().all()
    its_finite = its.isfinite()
    assert own[its_finite].square().mean() <= 1.05**2 * its[its_finite].square().mean()


@pytest.mark.parametrize(("name", "options"), PER_ELEMENT, ids=case_id)
def test_permuted_parameters_are_updated_in_place(name: str, options: dict[str, Any]) -> None:
    last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    a = [torch.nn.Parameter(last.clone()), torch.nn.Parameter(torch.randn(3, 4).t())]
    b = [torch.nn.Parameter(p.detach().clone().contiguous()) for p in a]
    where = [p.data_ptr() for p in a]
    mine, other = ours(name, a, **options), theirs(name, b, **options)
    for step in range(3):
        give_gradients(step, b, a)
        if step == 1:
            a[0].grad = a[0].grad.to(memory_format=torch.channels_last)
        mine.step()
        other.step()
    assert_close(a, b)
    assert [p.data_ptr() for p in a] == where
    assert [p.is_contiguous() for p in a] == [False, False]


def test_adafactor_of_permuted_parameters() -> None:
    p = torch.nn.Parameter(torch.randn(3, 4).t())
    p.grad = torch.ones(4, 3)
    with pytest.raises(ValueError, match=r"params.*expected a C-contiguous array"):
        st.Adafactor([p]).step()


def test_empty_parameters_of_adafactor() -> None:
    p = torch.nn.Parameter(torch.ones(0, 4))
    p.grad = torch.ones(0, 4)
    st.Adafactor([p]).step()


# ----- state -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_state_goes_to_torch_and_back(name: str, options: dict[str, Any]) -> None:
    a, b = two_lists(name)
    mine, other = ours(name, a, **options), theirs(name, b, **options)
    for step in range(6):
        give_gradients(step, a, b)
        mine.step()
        other.step()
        if step == 2:
            state, its = mine.state_dict(), other.state_dict()
            assert {k: sorted(v) for k, v in state["state"].items()} == {
                k: sorted(v) for k, v in its["state"].items()
            }
            for k, entries in its["state"].items():
                for key, value in entries.items():
                    torch.testing.assert_close(state["state"][k][key], value, msg=key)
            stored = io.BytesIO()
            torch.save((state, its), stored)
            stored.seek(0)
            state, its = torch.load(stored, weights_only=True)
            mine, other = ours(name, a, **options), theirs(name, b, **options)
            mine.load_state_dict(its)
            other.load_state_dict(state)
    assert_close(a, b)


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_copies_go_on_by_themselves(name: str, options: dict[str, Any]) -> None:
    a, b = two_lists(name)
    mine, other = ours(name, a, **options), theirs(name, b, **options)
    give_gradients(0, a, b)
    mine.step()
    other.step()
    copied, copy_of_mine = copy.deepcopy((a, mine))
    pickled, pickle_of_mine = pickle.loads(pickle.dumps((a, mine)))
    give_gradients(1, a, b, copied, pickled)
    for optimizer in (mine, other, copy_of_mine, pickle_of_mine):
        optimizer.step()
    for params in (a, copied, pickled):
        assert_close(params, b)


def test_state_that_others_change() -> None:
    a, b = parameters(), parameters()
    mine, other = st.Adam(a), torch.optim.Adam(b)

    def step(number: int) -> None:
        give_gradients(number, a, b)
        mine.step()
        other.step()
        assert_close(a, b)

    step(0)
    for optimizer, params in ((mine, a), (other, b)):
        optimizer.state[params[0]]["exp_avg"].zero_()
        optimizer.state[params[1]]["step"].fill_(7)
        optimizer.state[params[3]]["exp_avg_sq"] = torch.ones(params[3].shape)
        del optimizer.state[params[5]]
    step(1)
    for optimizer, params in ((mine, a), (other, b)):
        first, second = optimizer.state[params[1]], optimizer.state[params[1]].copy()
        optimizer.state[params[1]] = {k: v.clone() for k, v in second.items()}
        first["exp_avg"].fill_(1e6)  # no longer anybody's
        optimizer.state[params[3]]["exp_avg"].share_memory_()
    step(2)
    for params in (a, b):
        params[0].data = params[0].detach() + 1
        params[1].data = params[1].detach().clone()
    step(3)
    step(4)


def test_options_that_change() -> None:
    a, b = parameters(), parameters()
    mine, other = st.SGD(a, lr=0.1), torch.optim.SGD(b, lr=0.1)
    changes: list[dict[str, Any]] = [
        {},
        {"momentum": 0.9},
        {"nesterov": True},
        {"lr": 0.01},
        {"weight_decay": 0.5},
    ]
    for number, change in enumerate([*changes, {"momentum": 0, "nesterov": False}]):
        for optimizer in (mine, other):
            optimizer.param_groups[0].update(change)
        for _ in range(2):
            give_gradients(number, a, b)
            mine.step()
            other.step()
            assert_close(a, b)


def test_amsgrad_may_be_turned_on() -> None:
    a = parameters()
    mine = st.Adam(a)
    give_gradients(0, a)
    mine.step()
    mine.param_groups[0]["amsgrad"] = True
    mine.step()
    state = mine.state[a[0]]
    assert torch.equal(state["max_exp_avg_sq"], state["exp_avg_sq"])


# ----- which parameters --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_parameters_come_and_go(name: str) -> None:
    a, b = two_lists(name)
    mine = ours(name, [{"params": a[:2]}, {"params": a[2:4], "lr": 0.05}], lr=0.1)
    other = theirs(name, [{"params": b[:2]}, {"params": b[2:4], "lr": 0.05}], lr=0.1)
    for step in range(8):
        give_gradients(step, a, b)
        for params in (a, b):
            if step in (1, 4):
                params[0].grad = None
            if step == 2:
                params[2].grad = params[3].grad = None
            if step == 5:
                for p in params:
                    p.grad = None
        if step == 3:
            mine.add_param_group({"params": a[4:], "lr": 0.2})
            other.add_param_group({"params": b[4:], "lr": 0.2})
        if step == 6 and name == "Adagrad":
            continue  # torch has no state for parameters that were added
        if step >= 3 and name == "Adagrad":
            for params in (a, b):
                params[4].grad = params[5].grad = None
        mine.step()
        other.step()
    assert_close(a, b)


def test_tied_weights_and_views_of_one_storage() -> None:
    whole, other_whole = torch.ones(10), torch.ones(10)
    a = [torch.nn.Parameter(whole[:5]), torch.nn.Parameter(whole[5:])]
    b = [torch.nn.Parameter(other_whole[:5]), torch.nn.Parameter(other_whole[5:])]
    mine, other = st.Adam(a), torch.optim.Adam(b)
    for step in range(3):
        give_gradients(step, a, b)
        mine.step()
        other.step()
    torch.testing.assert_close(whole, other_whole)
    layers = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
    layers[1].weight = layers[0].weight
    model = torch.nn.Sequential(*layers)
    before = layers[0].weight.detach().clone()
    mine = st.SGD(model.parameters(), lr=1.0)
    model(torch.ones(2, 4)).sum().backward()
    grad = layers[0].weight.grad.clone()
    mine.step()
    assert torch.equal(layers[1].weight.detach(), before - grad)


def test_strided_parameters_are_refused() -> None:
    p = torch.nn.Parameter(torch.ones(4, 6)[:, ::2])
    fine = torch.nn.Parameter(torch.ones(3))
    mine = st.SGD([fine, p], lr=1.0)
    p.grad, fine.grad = torch.ones(4, 3), torch.ones(3)
    with pytest.raises(ValueError, match=r"SGD.step: param_groups\[0\]\['params'\]\[1\]: expected"):
        mine.step()
    assert torch.equal(fine.detach(), torch.ones(3))
    assert not mine.state


def test_other_devices_are_refused() -> None:
    p = torch.nn.Parameter(torch.ones(3, device="meta"))
    mine = st.SGD([p], lr=1.0)
    p.grad = torch.ones(3, device="meta")
    with pytest.raises((TypeError, ValueError), match=r"SGD.step: .*params.*expected"):
        mine.step()


# ----- what training loops do --------------------------------------------------------------------


def train(make: Callable[[Any], Any], loop: Callable[..., None]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    model = torch.nn.Sequential(*layers).double()
    optimizer = make(model.parameters())
    x, y = torch.randn(16, 4).double(), torch.randn(16, 2).double()

    def loss() -> torch.Tensor:
        return torch.nn.functional.mse_loss(model(x), y)

    loop(model, optimizer, loss)
    return [p.detach() for p in model.parameters()]


def scheduled(model: Any, optimizer: Any, loss: Any) -> None:
    schedulers = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
        torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    ]
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def cycled(model: Any, optimizer: Any, loss: Any) -> None:
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        scheduler.step()


def accumulated(model: Any, optimizer: Any, loss: Any) -> None:
    for step in range(8):
        loss().backward()
        if step % 2:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad(set_to_none=step % 4 == 1)


def scaled(model: Any, optimizer: Any, loss: Any) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    for step in range(8):
        optimizer.zero_grad()
        scaler.scale(loss() * (float("inf") if step == 3 else 1)).backward()
        if step % 2:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() != 2.0**10


def closed(model: Any, optimizer: Any, loss: Any) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(5):
        with torch.no_grad():
            assert isinstance(optimizer.step(closure), torch.Tensor)


def hooked(model: Any, optimizer: Any, loss: Any) -> None:
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    handle = optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    for step in range(4):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if step == 1:
            handle.remove()
    assert seen == ["before", "after"] * 2 + ["before"] * 2


@pytest.mark.parametrize("loop", [scheduled, cycled, accumulated, scaled, closed, hooked])
@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop"])
def test_loops(name: str, loop: Any) -> None:
    options = {"lr": 0.05, "momentum": 0.9} if name != "AdamW" else {"lr": 0.05, "fused": True}
    mine = train(lambda params: ours(name, params, **options), loop)
    other = train(lambda params: theirs(name, params, **options), loop)
    torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_autograd_sees_that_parameters_changed() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    mine = st.SGD([p], lr=1.0)
    loss = (p**2).sum()
    loss.backward(retain_graph=True)
    mine.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_parameters_of_inference_mode() -> None:
    with torch.inference_mode():
        p = torch.ones(3)
    mine = st.SGD([p], lr=1.0)
    with torch.inference_mode():
        p.grad = torch.ones(3)
        mine.step()
    assert p.tolist() == [0, 0, 0]


def test_a_compiled_model() -> None:
    model = torch.nn.Linear(3, 2)
    twin = copy.deepcopy(model)
    compiled: Any = torch.compile(model, backend="eager")
    mine, other = st.Adam(compiled.parameters()), torch.optim.Adam(twin.parameters())
    for net, optimizer in ((compiled, mine), (twin, other)):
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    assert_close(list(model.parameters()), list(twin.parameters()))


# ----- sparse gradients --------------------------------------------------------------------------


def embedding(name: str, make: Any, steps: int = 4, **options: Any) -> torch.Tensor:
    torch.manual_seed(0)
    table = torch.nn.Embedding(20, 3, sparse=True)
    optimizer = make(name, table.parameters(), **options)
    for _ in range(steps):
        optimizer.zero_grad()
        table(torch.randint(0, 20, (2, 9))).square().sum().backward()
        optimizer.step()
    return table.weight.detach()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "maximize": True}),
        ("Adagrad", {"lr": 0.1}),
        ("SparseAdam", {"lr": 0.1}),
        ("SparseAdam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1, "maximize": True}),
    ],
    ids=case_id,
)
def test_sparse_gradients_as_in_torch(name: str, options: dict[str, Any]) -> None:
    torch.testing.assert_close(embedding(name, ours, **options), embedding(name, theirs, **options))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Adafactor",)])
def test_sparse_as_if_dense(name: str) -> None:
    def dense(name: str, params: Any, **options: Any) -> Any:
        optimizer = theirs(name, params, **options)
        optimizer.register_step_pre_hook(make_dense)
        return optimizer

    def make_dense(optimizer: Any, args: Any, kwargs: Any) -> None:
        for p in optimizer.param_groups[0]["params"]:
            p.grad = p.grad.to_dense()

    torch.testing.assert_close(
        embedding(name, ours, lr=0.1, sparse="keras"), embedding(name, dense, lr=0.1)
    )


@pytest.mark.parametrize("name", [*(n for n in NAMES if n != "Adafactor"), "Lion", "Ftrl"])
def test_lazy_steps_leave_other_rows_alone(name: str) -> None:
    table = torch.nn.Embedding(20, 3, sparse=True)
    before = table.weight.detach().clone()
    mine = ours(name, table.parameters(), lr=0.1)
    table(torch.tensor([[3, 5], [3, 3]])).sum().backward()
    assert not table.weight.grad.is_coalesced()
    mine.step()
    changed = (table.weight.detach() != before).any(dim=1).nonzero().flatten()
    assert changed.tolist() == [3, 5]


def test_sparse_and_dense_gradients_in_turn() -> None:
    table = torch.nn.Embedding(6, 2, sparse=True)
    twin = torch.nn.Embedding(6, 2, _weight=table.weight.detach().clone())
    mine, other = st.SGD(table.parameters(), lr=0.1), torch.optim.SGD(twin.parameters(), lr=0.1)
    for step in range(4):
        for layer, optimizer in ((table, mine), (twin, other)):
            optimizer.zero_grad()
            if step % 2:
                layer.weight.square().sum().backward()
            else:
                layer(torch.tensor([1, 1, 4])).sum().backward()
            optimizer.step()
    torch.testing.assert_close(table.weight, twin.weight)


def test_weight_decay_of_a_sparse_gradient_is_refused() -> None:
    table = torch.nn.Embedding(6, 2, sparse=True)
    before = table.weight.detach().clone()
    mine = st.Adagrad(table.parameters(), weight_decay=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="a dense gradient, to which weight decay is added"):
        mine.step()
    assert torch.equal(table.weight.detach(), before)


# ----- ours alone --------------------------------------------------------------------------------


def test_lion() -> None:
    a = parameters()
    exact = [p.detach().double().numpy().copy() for p in a]
    m = [np.zeros_like(w) for w in exact]
    mine = st.Lion(a, lr=0.01, weight_decay=0.1)
    for step in range(5):
        give_gradients(step, a)
        for i, p in enumerate(a):
            g = p.grad.double().numpy()
            exact[i] = exact[i] * (1 - 0.01 * 0.1) - 0.01 * np.sign(0.9 * m[i] + 0.1 * g)
            m[i] = 0.99 * m[i] + 0.01 * g
        mine.step()
    for p, w in zip(a, exact, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-5, atol=1e-6)


def test_ftrl() -> None:
    a = parameters()
    exact = [p.detach().double().numpy().copy() for p in a]
    n, z = [np.full_like(w, 0.1) for w in exact], [np.zeros_like(w) for w in exact]
    mine = st.Ftrl(a, lr=0.1, l1=0.01, l2=0.1)
    for step in range(5):
        give_gradients(step, a)
        for i, p in enumerate(a):
            g = p.grad.double().numpy()
            new = n[i] + g * g
            z[i] = z[i] + g - (np.sqrt(new) - np.sqrt(n[i])) / 0.1 * exact[i]
            n[i] = new
            exact[i] = (np.clip(z[i], -0.01, 0.01) - z[i]) / (np.sqrt(new) / 0.1 + 0.2)
        mine.step()
    for p, w in zip(a, exact, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [1, 3, 16])
def test_row_wise_adagrad(width: int) -> None:
    table = torch.nn.Embedding(8, width, sparse=True)
    exact, total = table.weight.detach().double().numpy().copy(), np.zeros(8)
    mine = st.RowWiseAdagrad(table.parameters(), lr=0.1, lr_decay=0.5)
    for step in range(4):
        ids = np.random.default_rng(step).integers(0, 8, 5)
        mine.zero_grad()
        table(torch.from_numpy(ids)).square().sum().backward()
        gradient = np.zeros_like(exact)
        np.add.at(gradient, ids, 2 * exact[ids])
        total += np.square(gradient).mean(axis=1)
        rate = 0.1 / (1 + 0.5 * step) / (np.sqrt(total) + 1e-10)
        exact = exact - gradient * rate[:, None]
        mine.step()
        np.testing.assert_allclose(table.weight.detach().numpy(), exact, rtol=2e-5, atol=1e-6)
    assert mine.state[table.weight]["sum"].shape == (8,)


def test_row_wise_adagrad_refuses_dense_gradients() -> None:
    p = torch.nn.Parameter(torch.ones(3, 2))
    p.grad = torch.ones(3, 2)
    with pytest.raises(TypeError, match="expected IndexedSlices, whose rows are updated"):
        st.RowWiseAdagrad([p]).step()


# ----- what is refused ---------------------------------------------------------------------------

ONE_NUMBER: Any = 0.9  # where two are expected: types would refuse it before the call does


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: st.Adam(p, capturable=True), "Adam: capturable: expected False"),
        (lambda p: st.SGD(p, differentiable=True), "SGD: differentiable: expected False"),
        (lambda p: st.Adam(p, sparse="eager"), "Adam: sparse: expected 'keras' or 'lazy'"),
        (lambda p: st.Adam(p, sparse="deferred"), "got 'deferred', which would show old rows"),
        (lambda p: st.Lion(p, lr=-1.0), "Lion: lr: expected a number of at least 0"),
        (lambda p: st.Lion(p, betas=(1.0, 0.0)), r"betas\[0\]: expected .* at least 0 and below 1"),
        (lambda p: st.Ftrl(p, lr_power=1.0), "Ftrl: lr_power: expected a number up to 0"),
        (lambda p: st.Lion(p, betas=ONE_NUMBER), "Lion: betas: expected two numbers, got 0.9"),
        (lambda p: st.Adam(p, lr=-1.0), "Invalid learning rate: -1.0"),
    ],
)
def test_bad_options(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(parameters())


def test_a_refused_group_is_not_added() -> None:
    a = parameters()
    mine = st.Adam(a[:1])
    with pytest.raises(ValueError, match="capturable"):
        mine.add_param_group({"params": a[1:], "capturable": True})
    assert len(mine.param_groups) == 1


def test_all_or_nothing() -> None:
    a = parameters()
    mine = st.Adam([{"params": a[:2]}, {"params": a[2:], "lr": float("nan")}])
    before = [p.detach().clone() for p in a]
    give_gradients(0, a)
    with pytest.raises(ValueError, match="lr"):
        mine.step()
    assert all(torch.equal(p, q) for p, q in zip(a, before, strict=True))
    assert not mine.state
    mine.param_groups[1]["lr"] = 0.1
    mine.step()
    assert all(not torch.equal(p, q) for p, q in zip(a, before, strict=True) if p.numel())


def test_signatures_are_torchs() -> None:
    import inspect

    for name in NAMES:
        own = list(inspect.signature(getattr(st, name)).parameters)
        assert own == [*inspect.signature(getattr(torch.optim, name)).parameters, "sparse"]
