# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of PyTorch's optimizers and parameters: `slotwise.save` and its like."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
import slotwise.torch as st
import torch
from slotwise import interop
from support.process import needs_snapshots
from support.torch_cases import CASES, SHAPES_OF, case_id, give_gradients, ours, parameters

OWN: list[tuple[str, dict[str, Any]]] = [
    ("Lion", {"lr": 0.01, "weight_decay": 0.1}),
    ("Ftrl", {"lr": 0.1, "l1": 0.01}),
]


def named(params: list[torch.nn.Parameter]) -> dict[str, torch.nn.Parameter]:
    return {f"layer.{number}": p for number, p in enumerate(params)}


def assert_same(a: Any, b: Any) -> None:
    """The same bits."""
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def assert_same_state(a: Any, b: Any) -> None:
    mine, its = a.state_dict()["state"], b.state_dict()["state"]
    assert mine.keys() == its.keys()
    for number, own in mine.items():
        other = its[number]
        assert own.keys() == other.keys()
        for key, value in own.items():
            assert type(value) is type(other[key])
            assert_same(value, other[key])


def groups_of(params: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]


# ----- going on with the same bits ----------------------------------------------------------------


@pytest.mark.parametrize("has_names", [True, False])
@pytest.mark.parametrize(("name", "options"), [*CASES, *OWN], ids=case_id)
def test_going_on_gives_the_same_bits(
    tmp_path: Path, name: str, options: dict[str, Any], has_names: bool
) -> None:
    a = parameters(shapes=SHAPES_OF.get(name, [(3, 4), (5,), (), (2, 3, 3), (0, 4), (129,)]))
    mine = ours(name, groups_of(a), **options)
    for step in range(3):
        give_gradients(step, a)
        if step:
            a[1].grad = None  # another count
        mine.step()
    mine.param_groups[0]["lr"] = 0.02
    slotwise.save(
        tmp_path / "c", optimizer=mine, variables=named(a) if has_names else None, verify=True
    )
    b = parameters(seed=1, shapes=[p.shape for p in a]) if has_names else copy.deepcopy(a)
    where = [p.data_ptr() for p in b]
    other = ours(name, groups_of(b), **{**options, "lr": 7.0})
    other.param_groups[1]["lr"] = 8.0
    loaded = slotwise.load(
        tmp_path / "c", optimizer=other, variables=named(b) if has_names else None
    )
    assert loaded.optimizer is other
    assert not loaded.report
    assert [p.data_ptr() for p in b] == where
    assert [g["lr"] for g in other.param_groups] == [0.02, 0.03]
    for own, its in zip(mine.param_groups, other.param_groups, strict=True):
        assert {k: v for k, v in own.items() if k != "params"} == {
            k: v for k, v in its.items() if k != "params"
        }
    assert_same_state(mine, other)
    for step in range(3, 6):
        give_gradients(step, a, b)
        mine.step()
        other.step()
        assert_same(a, b)


@pytest.mark.parametrize("name", ["SparseAdam", "RowWiseAdagrad", "Adagrad"])
def test_sparse_gradients(tmp_path: Path, name: str) -> None:
    tables = [torch.nn.Embedding(20, 3, sparse=True) for _ in range(2)]
    optimizers = [ours(name, table.parameters(), lr=0.1) for table in tables]

    def step(*which: int) -> None:
        ids = torch.randint(0, 20, (9,))
        for i in which:
            optimizers[i].zero_grad()
            tables[i](ids).square().sum().backward()
            optimizers[i].step()

    step(0)
    step(0)
    slotwise.save(tmp_path / "c", optimizer=optimizers[0], variables=tables[0])
    slotwise.load(tmp_path / "c", optimizer=optimizers[1], variables=tables[1])
    assert_same_state(*optimizers)
    step(0, 1)
    assert_same(tables[0].weight, tables[1].weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    a, b = parameters(dtype=dtype), parameters(seed=1, dtype=dtype)
    mine, other = st.AdamW(a), st.AdamW(b)
    give_gradients(0, a)
    mine.step()
    slotwise.save(tmp_path / "c.safetensors", optimizer=mine, variables=named(a))
    slotwise.load(tmp_path / "c.safetensors", optimizer=other, variables=named(b))
    assert_same(a, b)
    assert_same_state(mine, other)


def test_permuted_parameters(tmp_path: Path) -> None:
    def make() -> Any:
        last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
        return [torch.nn.Parameter(last), torch.nn.Parameter(torch.randn(3, 4).t())]

    a, b = make(), make()
    mine, other = st.Adam(a), st.Adam(b)
    give_gradients(0, a)
    mine.step()
    slotwise.save(tmp_path / "c", optimizer=mine, variables=named(a))
    plain = slotwise.load_array(tmp_path / "c", "layer.0")
    np.testing.assert_array_equal(plain, a[0].detach().numpy())
    slotwise.load(tmp_path / "c", optimizer=other, variables=named(b))
    assert_same_state(mine, other)
    assert other.state[b[0]]["exp_avg"].stride() == b[0].stride()
    for step in (1, 2):
        give_gradients(step, a, b)
        mine.step()
        other.step()
        assert_same(a, b)


def test_a_fresh_process(tmp_path: Path) -> None:
    script = """
import sys, torch, slotwise, slotwise.torch as st
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
opt = st.NAdam(model.named_parameters(), lr=0.01)
plan = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 20)
path, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if first:
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    extra = slotwise.load(path, optimizer=opt, variables=model).extra
    plan.load_state_dict(extra)
for step in range(first, last):
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
    opt.zero_grad()
    model(x).square().mean().backward()
    opt.step()
    plan.step()
slotwise.save(path, optimizer=opt, variables=model, extra=plan.state_dict())
"""

    def run(path: str, first: int, last: int) -> None:
        arguments = [sys.executable, "-c", script, str(tmp_path / path), str(first), str(last)]
        subprocess.run(arguments, check=True)

    run("halves", 0, 5)
    run("halves", 5, 10)
    run("whole", 0, 10)
    halves, whole = (slotwise.load(tmp_path / path) for path in ("halves", "whole"))
    assert halves.arrays.keys() == whole.arrays.keys()
    assert {"1.running_mean", "0.weight/mu_product"} <= whole.arrays.keys()
    assert halves.extra == whole.extra
    for name, value in whole.arrays.items():
        np.testing.assert_array_equal(halves.arrays[name], value, err_msg=name)


# ----- what is in a file --------------------------------------------------------------------------


def test_names(tmp_path: Path) -> None:
    a = parameters(shapes=[(3,), (2,)])
    mine = st.Adam([("first", a[0])], lr=0.5)
    mine.add_param_group({"params": [("second", a[1])], "betas": (0.5, 0.75)})
    give_gradients(0, a)
    mine.step()
    slotwise.save(tmp_path / "c", optimizer=mine)
    found = slotwise.load(tmp_path / "c")
    assert {"first/exp_avg", "second/exp_avg_sq", "first/step"} <= found.arrays.keys()
    assert found.arrays["first/step"] == 1
    assert found.arrays["param_groups.0.lr"] == 0.5
    assert found.arrays["param_groups.1.betas"].tolist() == [0.5, 0.75]
    assert found.config["class_name"] == "torch.Adam"
    slotwise.save(tmp_path / "c", optimizer=mine, variables={"x": a[0], "y": a[1].detach()})
    assert {"x", "x/step", "y/exp_avg"} <= slotwise.load(tmp_path / "c").arrays.keys()


def test_parameters_of_one_number(tmp_path: Path) -> None:
    a, b = parameters(shapes=[(), (1,)]), parameters(seed=1, shapes=[(), (1,)])
    mine, other = st.Adam(a, lr=0.5), st.Adam(b)
    give_gradients(0, a)
    mine.step()
    slotwise.save(tmp_path / "c", optimizer=mine, variables=named(a))
    assert "param_groups.0.params" not in slotwise.load(tmp_path / "c").arrays
    slotwise.load(tmp_path / "c", optimizer=other, variables=named(b))
    assert other.param_groups[0]["params"][1] is b[1]
    assert_same(a, b)
    assert_same_state(mine, other)


def test_names_that_several_have(tmp_path: Path) -> None:
    a = parameters(shapes=[(3,), (2,)])
    mine = st.Adam([{"params": [("w", a[0])]}, {"params": [("w", a[1])]}])
    give_gradients(0, a)
    mine.step()
    with pytest.raises(ValueError, match="save: variables: expected a name for every array"):
        slotwise.save(tmp_path / "c", optimizer=mine)
    slotwise.save(tmp_path / "c", optimizer=mine, variables={"a.w": a[0], "b.w": a[1]})


def test_numbers_that_schedulers_and_callers_keep(tmp_path: Path) -> None:
    def make(has_plan: bool) -> Any:
        optimizer = st.SGD(parameters(), lr=0.1, momentum=0.5)
        plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=9)
        return (optimizer, plan) if has_plan else st.SGD(parameters(), lr=0.1, momentum=0.5)

    mine, plan = make(True)
    for _ in range(3):
        mine.step()
        plan.step()
    mine.param_groups[0].update(mine=2**60 + 1, label="body", depth=3)
    slotwise.save(tmp_path / "c", optimizer=mine)
    for other in (make(True)[0], make(False)):
        assert not slotwise.load(tmp_path / "c", optimizer=other).report
        group, its = mine.param_groups[0], other.param_groups[0]
        for key in ("lr", "momentum", "initial_lr", "max_lr", "min_lr", "max_momentum", "depth"):
            assert its[key] == group[key]
        assert "mine" not in its and "label" not in its
    slotwise.save(tmp_path / "plain", optimizer=make(False))
    other, _ = make(True)
    slotwise.load(tmp_path / "plain", optimizer=other)
    assert other.param_groups[0]["max_lr"] == 0.4


def test_rates_in_tensors(tmp_path: Path) -> None:
    a, b = parameters(), parameters()
    rate = torch.tensor(0.25)
    mine = st.Adam(groups_of(a), lr=0.5)
    slotwise.save(tmp_path / "c", optimizer=mine)
    other = st.Adam([{"params": b[:2]}, {"params": b[2:]}], lr=rate)
    slotwise.load(tmp_path / "c", optimizer=other)
    rates = [group["lr"] for group in other.param_groups]
    assert all(isinstance(each, torch.Tensor) for each in rates)
    assert torch.equal(torch.stack(rates), torch.tensor([0.5, 0.03]))
    assert rate == 0.25
    slotwise.save(tmp_path / "c", optimizer=other)
    slotwise.load(tmp_path / "c", optimizer=mine)
    assert mine.param_groups[1]["lr"] == float(np.float32(0.03))


def test_options_that_were_changed(tmp_path: Path) -> None:
    """State that no step needs any more, or that the next step makes."""
    changes: list[tuple[dict[str, Any], dict[str, Any]]]
    changes = [({"momentum": 0.9}, {"momentum": 0}), ({}, {"momentum": 0.9})]
    for before, after in changes:
        a = parameters()
        mine = st.SGD(a, lr=0.1, **before)
        give_gradients(0, a)
        mine.step()
        mine.param_groups[0].update(after)
        slotwise.save(tmp_path / "c", optimizer=mine, variables=named(a))
        b = parameters(seed=1)
        other = st.SGD(b, lr=0.1)
        slotwise.load(tmp_path / "c", optimizer=other, variables=named(b))
        assert_same_state(mine, other)
        for optimizer in (mine, other):
            optimizer.param_groups[0]["momentum"] = 0.7
        give_gradients(1, a, b)
        mine.step()
        other.step()
        assert_same(a, b)
    a = parameters()
    mine = st.Adam(a)
    give_gradients(0, a)
    mine.step()
    mine.param_groups[0]["amsgrad"] = True
    slotwise.save(tmp_path / "c", optimizer=mine)
    other = st.Adam(parameters(), amsgrad=True)
    slotwise.load(tmp_path / "c", optimizer=other)
    assert_same_state(mine, other)


def test_several_optimizers_of_both_kinds(tmp_path: Path) -> None:
    def make() -> Any:
        w = slotwise.Variable(np.ones(2, np.float32), name="w")
        p = parameters(shapes=[(3,)])
        return w, p, {"keras": slotwise.optimizers.Adam(0.1), "torch": st.Adam(p)}

    w, p, pair = make()
    pair["keras"].apply_gradients([(np.ones(2, np.float32), w)])
    give_gradients(0, p)
    pair["torch"].step()
    slotwise.save(tmp_path / "c", optimizer=pair, variables={"w": w, "p": p[0]})
    w2, p2, other = make()
    slotwise.load(tmp_path / "c", optimizer=other, variables={"w": w2, "p": p2[0]})
    assert_same(p, p2)
    assert_same_state(pair["torch"], other["torch"])
    np.testing.assert_array_equal(w2.value, w.value)


def test_the_manager(tmp_path: Path) -> None:
    a = parameters()
    mine = st.Adam(a)
    manager = slotwise.CheckpointManager(tmp_path, max_to_keep=2)
    for step in range(4):
        give_gradients(step, a)
        mine.step()
        manager.save(step, optimizer=mine, variables=named(a))
    assert manager.steps == [2, 3]
    expected = [p.detach().clone() for p in a]
    give_gradients(9, a)
    mine.step()
    manager.restore_latest(optimizer=mine, variables=named(a))
    assert_same([p.detach() for p in a], expected)
    assert int(mine.state[a[0]]["step"]) == 4


# ----- modules ------------------------------------------------------------------------------------


@needs_snapshots
def test_saves_in_the_background(tmp_path: Path) -> None:
    model = torch.nn.Linear(2000, 1000)
    opt = st.AdamW(model.parameters(), 0.01)

    def step() -> None:
        model(torch.ones(3, 2000)).square().sum().backward()
        opt.step()
        opt.zero_grad()

    step()
    slotwise.save(tmp_path / "plain", optimizer=opt, variables=model)
    saving = slotwise.save(tmp_path / "x", optimizer=opt, variables=model, background=True)
    step()
    assert saving.is_background and saving.result() == saving.id
    expected, found = (slotwise.load(tmp_path / name).arrays for name in ("plain", "x"))
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])

    model.share_memory()
    with pytest.warns(UserWarning, match="background: 'weight' is in shared memory"):
        saving = slotwise.save(tmp_path / "x", optimizer=opt, variables=model, background=True)
    assert saving.done() and not saving.is_background


def test_modules(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    model.register_buffer("scratch", torch.ones(3), persistent=False)
    tied = torch.nn.Linear(2, 2)
    tied.weight = model[0].weight
    model.append(tied)
    slotwise.save(tmp_path / "c", variables=model)
    found = slotwise.load(tmp_path / "c").arrays
    assert found.keys() == model.state_dict().keys() - {"2.weight"}
    before = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    model[1].num_batches_tracked += 5
    slotwise.load(tmp_path / "c", variables=model)
    assert_same(dict(model.state_dict()), dict(before.state_dict()))


def test_modules_with_other_state() -> None:
    class Odd(torch.nn.Linear):
        def get_extra_state(self) -> Any:
            return {"a": 1}

    with pytest.raises(ValueError, match=r"variables: expected a module .* \['_extra_state'\]"):
        slotwise.save("nowhere", variables=Odd(2, 2))
    renamed = torch.nn.Linear(2, 2)

    def leave_out(module: Any, state: Any, *_: Any) -> None:
        del state["bias"]

    renamed._register_state_dict_hook(leave_out)
    with pytest.raises(ValueError, match=r"variables: expected a module .* \['bias'\]"):
        slotwise.save("nowhere", variables=renamed)


# ----- what does not fit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: st.SGD(p), "class_name: the state has 'torch.Adam', the optimizer 'torch.SGD'"),
        (lambda p: st.Adam(groups_of(p)), r"param_groups.1.*param_groups.0.params: the state has"),
        (lambda p: st.Adam(p[:-1]), "config.param_groups.0.params: the state has 6, the opt"),
        (lambda p: st.Adam(p, amsgrad=True), "config.param_groups.0.amsgrad: the state has None"),
        (lambda p: st.Adam(p, sparse="keras"), "param_groups.0.sparse: the state has 'lazy', the"),
        (lambda p: st.Adam(p[::-1]), "exp_avg: expected shape .* of float32, got .* of float32"),
        (
            lambda p: st.Adam([x.detach().double().requires_grad_() for x in p]),
            "expected shape .* of float64, got",
        ),
    ],
)
@pytest.mark.parametrize("is_used", [False, True])
def test_other_optimizers_are_refused(
    tmp_path: Path, make: Any, message: str, is_used: bool
) -> None:
    a = parameters()
    mine = st.Adam(a)
    give_gradients(0, a)
    mine.step()
    slotwise.save(tmp_path / "c", optimizer=mine)
    other = make(parameters(seed=1))
    if is_used:
        params = [p for group in other.param_groups for p in group["params"]]
        give_gradients(1, params)
        other.step()
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=message):
        slotwise.load(tmp_path / "c", optimizer=other)
    assert before["param_groups"] == other.state_dict()["param_groups"]
    torch.testing.assert_close(before["state"], other.state_dict()["state"], rtol=0, atol=0)


def test_state_that_the_file_lacks_is_forgotten(tmp_path: Path) -> None:
    """As `load_state_dict` does: what had no step then has none afterwards."""
    a, b = parameters(), parameters()
    mine, other = st.Adam(a), st.Adam(b)
    for step in range(3):
        give_gradients(step, a, b)
        a[2].grad = None
        mine.step()
        other.step()
    slotwise.save(tmp_path / "c", optimizer=mine, variables=named(a))
    where = other.state[b[0]]["exp_avg"].data_ptr()
    report = slotwise.load(tmp_path / "c", optimizer=other, variables=named(b)).report
    assert report.fresh == ["layer.2"]
    assert other.state[b[0]]["exp_avg"].data_ptr() == where
    assert_same_state(mine, other)
    give_gradients(5, a, b)
    mine.step()
    other.step()
    assert_same(a, b)
    slotwise.save(tmp_path / "new", optimizer=st.Adam(a))
    slotwise.load(tmp_path / "new", optimizer=other)
    assert not other.state


def test_damage_leaves_all_as_it_was(tmp_path: Path) -> None:
    a, b = parameters(), parameters(seed=1)
    mine, other = st.Adam(a), st.Adam(b, lr=0.5)
    give_gradients(0, a)
    mine.step()
    path = tmp_path / "c.safetensors"
    slotwise.save(path, optimizer=mine, variables=named(a))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(slotwise.StateError):
        slotwise.load(path, optimizer=other, variables=named(b))
    assert_same(b, parameters(seed=1))
    assert not other.state
    assert other.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ({"w": torch.ones(3, device="meta")}, TypeError, "save: variables: 'w': expected an array"),
        ({"w": torch.eye(3).to_sparse()}, ValueError, "save: variables: 'w': expected an array"),
        ({"w": torch.ones(1).expand(3)}, ValueError, "'w': expected elements of their own"),
        ({"w": torch.ones(3, dtype=torch.complex64)}, TypeError, "'w': expected a dtype among"),
        ([torch.ones(3)], TypeError, "expected Variables, or a dict from names, got Tensor"),
        ({}, ValueError, "save: variables: expected all that the optimizer trains, got none for"),
    ],
)
def test_bad_variables(tmp_path: Path, variables: Any, error: Any, message: str) -> None:
    mine = st.SGD(parameters(shapes=[(3,)])) if variables == {} else None
    with pytest.raises(error, match=message):
        slotwise.save(tmp_path / "c", optimizer=mine, variables=variables)
    assert not [*tmp_path.iterdir()]


def test_bad_optimizers(tmp_path: Path) -> None:
    a = parameters(shapes=[(3,)])
    with pytest.raises(TypeError, match=r"expected one of slotwise\.optimizers or slotwise\.torch"):
        slotwise.save(tmp_path / "c", optimizer=torch.optim.SGD(a))
    mine = st.SGD(a)
    slotwise.save(tmp_path / "c", optimizer=mine)
    with pytest.raises(ValueError, match=r"torch\.SGD: expected one that was made with its param"):
        slotwise.load(tmp_path / "c", optimizer="saved")
    with pytest.raises(TypeError, match=r"keras_weights: optimizer: expected one of slotwise\.opt"):
        interop.keras_weights(mine)
    mine.state[a[0]]["mine"] = "text"
    with pytest.raises(TypeError, match=r"SGD: mine of .*: expected a tensor, got str"):
        slotwise.save(tmp_path / "c", optimizer=mine)


# ----- one moment ---------------------------------------------------------------------------------


def test_a_save_waits_for_steps(tmp_path: Path) -> None:
    """All of a checkpoint is of one step, also where only the variables are named."""
    p = torch.nn.Parameter(torch.zeros(1 << 16))
    q = torch.nn.Parameter(torch.zeros(1 << 16))
    mine = st.SGD([p, q], lr=1.0)
    p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    mine.step()
    is_done = threading.Event()

    def train() -> None:
        while not is_done.is_set():
            mine.step()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for number in range(20):
            own = mine if number % 2 else None
            slotwise.save(tmp_path / "c", optimizer=own, variables={"p": p, "q": q})
            found = slotwise.load(tmp_path / "c").arrays
            assert np.unique([found["p"], found["q"]]).size == 1
    finally:
        is_done.set()
        thread.join()


def test_a_load_between_forward_and_backward_is_noticed(tmp_path: Path) -> None:
    p = torch.nn.Parameter(torch.ones(3))
    mine = st.SGD([p], lr=1.0)
    slotwise.save(tmp_path / "c", optimizer=mine, variables={"p": p})
    loss = (p**2).sum()
    slotwise.load(tmp_path / "c", optimizer=mine, variables={"p": p})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# ----- deltas -------------------------------------------------------------------------------------


def look_up(optimizer: Any, table: Any, ids: list[int]) -> None:
    optimizer.zero_grad()
    table(torch.tensor(ids)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["Adam", "SparseAdam", "RowWiseAdagrad", "SGD"])
def test_deltas_hold_the_rows_that_changed(tmp_path: Path, name: str) -> None:
    table = torch.nn.Embedding(50, 4, sparse=True)
    mine = ours(name, table.parameters(), lr=0.1)
    touched = slotwise.track(table.weight)
    look_up(mine, table, [1, 2])
    assert touched.rows.tolist() == [1, 2]
    slotwise.save(tmp_path / "base", optimizer=mine, variables=table)
    look_up(mine, table, [7, 3, 7])
    assert touched.rows.tolist() == [3, 7]
    slotwise.save_delta(
        tmp_path / "delta", since=tmp_path / "base", optimizer=mine, variables=table
    )
    assert slotwise.load_array(tmp_path / "delta", "weight").shape == (2, 4)
    twin = torch.nn.Embedding(50, 4, sparse=True)
    other = ours(name, twin.parameters(), lr=0.1)
    slotwise.load(tmp_path / "base", deltas=[tmp_path / "delta"], optimizer=other, variables=twin)
    assert_same(table.weight, twin.weight)
    assert_same_state(mine, other)


@pytest.mark.parametrize("is_fused", [False, True])
def test_rows_of_pooled_gradients(is_fused: bool) -> None:
    bag = st.EmbeddingBag(50, 4, mode="sum")
    mine = st.Adagrad(bag.parameters(), lr=0.1)
    if is_fused:
        st.fuse(mine, bag)
    touched = slotwise.track(bag.weight)
    bag(torch.tensor([[4, 9, 4], [1, 9, 9]])).square().sum().backward()
    mine.step()
    assert touched.rows.tolist() == [1, 4, 9]


def test_what_changes_all_rows() -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    touched = slotwise.track(table.weight)
    look_up(st.Adam(table.parameters(), sparse="keras"), table, [1])
    assert touched.rows.size == 5
    touched.set_aside()
    table.weight.grad = torch.ones(5, 2)
    st.SGD(table.parameters()).step()
    assert touched.rows.size == 5
    touched.set_aside()
    slotwise.untrack(table.weight)
    look_up(st.SGD(table.parameters()), table, [1])
    assert not touched.rows.size


def test_tracking_ends_with_the_parameter() -> None:
    from slotwise import _tracking

    gc.collect()
    tracked = len(_tracking._tracked)
    table = torch.nn.Embedding(5, 2, sparse=True)
    slotwise.track(table.weight)
    before = table.weight.data_ptr()
    table.weight.data = torch.zeros(5, 2)
    look_up(st.SGD(table.parameters()), table, [1])  # which is not tracked now
    others = [torch.zeros(5, 2) for _ in range(100)]
    assert before not in [other.data_ptr() for other in others]  # its memory is kept
    assert len(_tracking._tracked) == tracked + 1
    del table
    assert len(_tracking._tracked) == tracked


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_slots_of_large_parameters(dtype: torch.dtype) -> None:
    """They lie in huge pages where the system has some, and go on as others do."""
    p = torch.nn.Parameter(torch.ones(40_000, 32, dtype=dtype))
    opt = st.Adagrad([p], lr=0.5, initial_accumulator_value=0.25)
    p.grad = torch.ones_like(p)
    opt.step()
    slot = opt.state[p]["sum"]
    assert slot.dtype == dtype
    assert bool((slot == 1.25).all())
    assert slot.data_ptr() % (2 << 20) == 0
    again = copy.deepcopy(opt)
    assert torch.equal(again.state[again.param_groups[0]["params"][0]]["sum"], slot)
