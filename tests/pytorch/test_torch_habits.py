# SPDX-License-Identifier: Apache-2.0
"""What training loops do to an optimizer of torch.optim, done to ours as well."""

from __future__ import annotations

import copy
import signal
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import slotwise.torch as st
import torch
from torch import nn
from torch.optim import lr_scheduler, swa_utils

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def backward(model: nn.Module) -> torch.Tensor:
    loss: torch.Tensor = (model(INPUTS) - 1).square().mean()
    loss.backward()
    return loss


def train(model: nn.Module, optimizer: Any, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()


# ----- loops, with torch's optimizers and ours ---------------------------------------------------


def patched(lib: Any, model: nn.Module) -> None:
    optimizer = lib.SGD(model.parameters(), lr=0.1, momentum=0.9)
    plain = optimizer.step
    calls = []

    def counted(self: Any, *args: Any) -> Any:
        calls.append(1)
        return plain(*args)

    optimizer.step = types.MethodType(counted, optimizer)
    schedulers = [
        lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10),
        lr_scheduler.ReduceLROnPlateau(optimizer),
    ]
    for _ in range(6):
        train(model, optimizer, 1)
        schedulers[0].step()
        schedulers[1].step(1.0)
    assert len(calls) == 6


def wrapped(lib: Any, model: nn.Module) -> None:
    """As frameworks do: a class made of the optimizer's, with its attributes."""
    optimizer = lib.AdamW(model.parameters(), lr=0.1)

    class Wrapper(type(optimizer)):  # type: ignore[misc]
        def __init__(self) -> None:
            self.__dict__.update(optimizer.__dict__)

        def step(self, closure: Any = None) -> Any:
            return optimizer.step(closure)

    wrapper = Wrapper()
    scheduler = lr_scheduler.StepLR(optimizer, 2)

    def closure() -> torch.Tensor:
        wrapper.zero_grad()
        return backward(model)

    for _ in range(5):
        wrapper.step(closure)
        scheduler.step()


def averaged(lib: Any, model: nn.Module) -> None:
    optimizer = lib.Adam(model.parameters(), lr=0.1)
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    scheduler = swa_utils.SWALR(optimizer, 0.01)
    for _ in range(5):
        train(model, optimizer, 1)
        average.update_parameters(model)
        scheduler.step()
    model.load_state_dict(average.module.state_dict())


def parametrized(lib: Any, model: nn.Module) -> None:
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.spectral_norm(model[2])
    train(model, lib.Adam(model.parameters(), lr=0.1))


def functional(lib: Any, model: nn.Module) -> None:
    own = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    optimizer = lib.Adam(own.values(), lr=0.1)

    def loss(values: Any) -> torch.Tensor:
        return (torch.func.functional_call(model, values, INPUTS) - 1).square().mean()

    for step in range(6):
        if step % 2:
            for name, grad in torch.func.grad(loss)(own).items():
                own[name].grad = grad
        else:
            optimizer.zero_grad()
            loss(own).backward()
        optimizer.step()
    model.load_state_dict(own)


def grouped(lib: Any, model: nn.Module) -> None:
    """Groups of generators, of names too where torch takes them, with keys of somebody else's."""
    members = [
        part.named_parameters() if torch.__version__ >= "2.6" else part.parameters()
        for part in (model[0], model[2])
    ]
    groups = [
        {"params": members[0], "weight_decay": 0.1, "title": "first"},
        {"params": (member for member in members[1]), "lr": 0.01},
    ]
    optimizer = lib.AdamW(groups, lr=0.1)
    train(model, optimizer)
    other = lib.AdamW(model.parameters())
    with pytest.raises(ValueError, match="parameter groups"):
        other.load_state_dict(optimizer.state_dict())
    train(model, other, 1)


def reset(lib: Any, model: nn.Module) -> None:
    optimizer = lib.Adam(model.parameters(), lr=0.1)
    train(model, optimizer)
    optimizer.state.clear()
    train(model, optimizer)
    optimizer.state[model[0].weight] = {}
    train(model, optimizer)
    optimizer.state[model[0].weight]["exp_avg"].zero_()
    optimizer.state[model[2].weight]["exp_avg_sq"] = torch.ones(2, 8)
    optimizer.state[model[2].bias]["step"] = torch.tensor(1.0)
    train(model, optimizer)


def rearranged(lib: Any, model: nn.Module) -> None:
    optimizer = lib.Adam(model.parameters(), lr=0.1)
    train(model, optimizer)
    members = optimizer.param_groups[0]["params"]
    members.reverse()
    train(model, optimizer)
    removed = members.pop()
    train(model, optimizer)
    optimizer.add_param_group({"params": [removed], "lr": 0.01})
    train(model, optimizer)


def moved(lib: Any, model: nn.Module) -> None:
    """Memory that others put in the parameters' place, also in another order of axes."""
    optimizer = lib.Adam(model.parameters(), lr=0.1)
    train(model, optimizer)
    model.half()
    model.float()
    train(model, optimizer)
    for p in model.parameters():
        p.data = p.data.t().contiguous().t() if p.dim() == 2 else p.data / 2
    train(model, optimizer)


def frozen(lib: Any, model: nn.Module) -> None:
    optimizer = lib.Adam(model.parameters(), lr=torch.tensor(0.1))
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 5)
    for step in range(8):
        model[0].requires_grad_(step % 3 != 1)
        train(model, optimizer, 1)
        scheduler.step()


def in_every_mode(lib: Any, model: nn.Module) -> None:
    optimizer = lib.Adam(model.parameters(), lr=0.1)
    backward(model)
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            optimizer.step()
    with torch.profiler.profile() as profile:
        optimizer.step()
    assert f"Optimizer.step#{type(optimizer).__name__}.step" in {e.key for e in profile.events()}
    optimizer.zero_grad()
    optimizer.step()


def decayed_by_state(lib: Any, model: nn.Module) -> None:
    """Adam that goes on from AdamW's state decays weights as that did, and AdamW always does."""
    optimizer = lib.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    for name in ("Adam", "AdamW", "Adam"):
        train(model, optimizer)
        saved = optimizer.state_dict()
        optimizer = getattr(lib, name)(model.parameters(), weight_decay=0.5)
        optimizer.load_state_dict(saved)
    train(model, optimizer)
    plain = lib.AdamW(model.parameters())
    plain.load_state_dict(lib.Adam(model.parameters(), weight_decay=0.5).state_dict())
    train(model, plain)


LOOPS: list[Callable[[Any, nn.Module], None]] = [
    *(patched, wrapped, averaged, parametrized, functional, grouped),
    *(reset, rearranged, moved, frozen, in_every_mode, decayed_by_state),
]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_loops(loop: Callable[[Any, nn.Module], None]) -> None:
    mine, theirs = network(), network()
    loop(st, mine)
    loop(torch.optim, theirs)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=2e-5, atol=2e-6)


def test_a_copy_of_model_and_optimizer() -> None:
    model = network()
    optimizer = st.Adam(model.parameters(), lr=0.1)
    train(model, optimizer)
    other, copied = copy.deepcopy((model, optimizer))
    assert copied.param_groups[0]["params"][0] is other[0].weight
    before = model[0].weight.detach().clone()
    train(other, copied)
    assert torch.equal(model[0].weight, before)
    train(model, optimizer)
    assert torch.equal(model[0].weight, other[0].weight)


def test_a_checkpoint_of_another_memory_format() -> None:
    ends = []
    for lib in (st, torch.optim):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 5, 3)
        images = torch.randn(2, 3, 9, 9)
        optimizer = lib.Adam(model.parameters(), lr=0.01)
        for memory_format in (torch.contiguous_format, torch.channels_last):
            saved = copy.deepcopy(optimizer.state_dict())
            model.to(memory_format=memory_format)
            optimizer = lib.Adam(model.parameters(), lr=0.01)
            optimizer.load_state_dict(saved)
            for _ in range(3):
                optimizer.zero_grad()
                model(images).square().mean().backward()
                optimizer.step()
        assert optimizer.state[model.weight]["step"] == 6
        ends.append(model.weight.detach())
    torch.testing.assert_close(*ends, rtol=2e-5, atol=2e-6)


# ----- defaults that are set for all of torch ----------------------------------------------------


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["Adam", "NAdam", "RAdam", "Adagrad", "RMSprop"])
def test_the_default_dtype(name: str, dtype: torch.dtype) -> None:
    first = torch.randn(5, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(first.clone()), nn.Parameter(first.clone())
    with default_dtype(dtype):
        optimizers = [getattr(lib, name)([p]) for lib, p in ((st, mine), (torch.optim, theirs))]
        for step in range(300):  # more than bfloat16 can count
            mine.grad = torch.sin(first * step)
            theirs.grad = mine.grad.clone()
            for optimizer in optimizers:
                optimizer.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    (own,), (other,) = (optimizer.state.values() for optimizer in optimizers)
    assert own["step"] == other["step"]
    assert own["step"].dtype == other["step"].dtype


def test_the_default_device() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = st.Adam([p], lr=0.5)
    p.grad = torch.ones(3)
    with torch.device("meta"):
        optimizer.step()
    assert p.tolist() == [0.5] * 3
    assert optimizer.state[p]["step"].device.type == "cpu"


# ----- gradients ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("name", ["SparseAdam", "SGD", "Adagrad"])
def test_gradients_of_several_sparse_dimensions(name: str) -> None:
    """Only the elements that they have are updated, not the rows."""
    source = torch.Generator().manual_seed(0)
    first = torch.randn(4, 5, 3, generator=source)
    mine, theirs = nn.Parameter(first.clone()), nn.Parameter(first.clone())
    optimizers = [getattr(lib, name)([p], lr=0.1) for lib, p in ((st, mine), (torch.optim, theirs))]
    for step, width in enumerate((2, 3, 1, 2)):
        dense = torch.randn(4, 5, 3, generator=source) * (torch.rand(4, 5, 1) < 0.5)
        dense[step] = 0
        for p, optimizer in zip((mine, theirs), optimizers, strict=True):
            p.grad = dense.to_sparse(width)
            optimizer.step()
    torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-6)


def test_a_sparse_gradient_out_of_range() -> None:
    p = nn.Parameter(torch.zeros(4, 5))
    optimizer = st.SGD([p], lr=1.0)
    indices, values = torch.tensor([[0], [7]]), torch.ones(1)
    p.grad = torch.sparse_coo_tensor(indices, values, (4, 5), check_invariants=False)
    with pytest.raises(ValueError, match=r"gradient of .* expected indices in range of shape"):
        optimizer.step()
    assert not p.any()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_a_sparse_gradient_of_a_transposed_parameter() -> None:
    """Its rows are the columns of the memory: not to be taken for each other if it is square."""
    p = nn.Parameter(torch.zeros(4, 4).t())
    p.data = torch.arange(16.0).reshape(4, 4).t()
    before = p.detach().clone()
    rows = torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 4), (4, 4))
    optimizer = st.SGD([p], lr=1.0)
    p.grad = rows
    with pytest.raises(ValueError, match=r"gradient of .* rows lie together in memory"):
        optimizer.step()
    assert torch.equal(p, before)
    p.grad = rows.to_dense().to_sparse(2)
    optimizer.step()
    assert torch.equal(p, before - rows.to_dense())


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_a_sparse_gradient_of_permuted_rows() -> None:
    source = torch.Generator().manual_seed(0)
    first = torch.randn(4, 3, 2, generator=source).transpose(1, 2)
    mine, theirs = (nn.Parameter(first.clone()) for _ in range(2))
    assert not mine.is_contiguous()
    rows = torch.sparse_coo_tensor([[3, 1, 3]], torch.randn(3, 2, 3, generator=source), (4, 2, 3))
    for lib, p in ((st, mine), (torch.optim, theirs)):
        p.grad = rows
        optimizer = lib.SparseAdam([p], lr=0.1)
        optimizer.step()
    torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (lambda p: torch.ones(3, 4), r"expected shape \(4, 3\) like .*, got \(3, 4\)"),
        (lambda p: torch.ones(12), r"expected shape \(4, 3\) like .*, got \(12,\)"),
        (lambda p: p.detach().double(), "expected dtype float32 like .*, got float64"),
        (lambda p: p.detach().bfloat16(), "expected dtype float32 like .*, got bfloat16"),
    ],
)
def test_gradients_of_another_kind(put: Any, message: str) -> None:
    p = nn.Parameter(torch.ones(4, 3))
    p.grad = torch.ones(4, 3)
    p.grad.data = put(p)
    optimizer = st.Adam([p])
    with pytest.raises((TypeError, ValueError), match="Adam.step: gradient of .*" + message):
        optimizer.step()
    assert bool((p == 1).all())
    assert not optimizer.state


def test_adafactor_of_a_complex_parameter() -> None:
    p = nn.Parameter(torch.ones(3, 2, dtype=torch.complex64))
    p.grad = torch.ones_like(p)
    with pytest.raises(RuntimeError, match=r"Adafactor.step: .* complex parameters"):
        st.Adafactor([p]).step()
    assert bool((p == 1).all())


# ----- state -------------------------------------------------------------------------------------


def test_state_in_a_plain_dict() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = st.Adam([p], lr=0.5)
    optimizer.state = {}
    p.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.state[p]["step"] == 1


def test_a_counter_that_is_no_tensor() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = st.Adam([p])
    p.grad = torch.ones(3)
    optimizer.step()
    before = p.detach().clone()
    optimizer.state[p]["step"] = 7
    with pytest.raises(TypeError, match=r"Adam.step: step of .*: expected a tensor, got int"):
        optimizer.step()
    assert torch.equal(p, before)


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_that_is_there_twice() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = st.Adam([p, p])
    p.grad = torch.ones(3)
    with pytest.raises(ValueError, match=r"\['params'\]: expected each parameter once, got 2"):
        optimizer.step()
    assert bool((p == 1).all())


# ----- threads and interruptions -----------------------------------------------------------------


def test_two_threads_that_step_one_optimizer() -> None:
    model = network()
    optimizer = st.Adam(model.parameters(), lr=1e-4)
    backward(model)

    def work() -> None:
        for _ in range(100):
            optimizer.step()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other = network()
    backward(other)
    alone = st.Adam(other.parameters(), lr=1e-4)
    for _ in range(200):
        alone.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
def test_an_interruption_leaves_parameters_even() -> None:
    members = [nn.Parameter(torch.zeros(300, 300)) for _ in range(10)]
    optimizer = st.SGD(members, lr=1.0)
    for p in members:
        p.grad = torch.ones(300, 300)

    interruptions = []

    def interrupt(*_: Any) -> None:
        interruptions.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(20):
            interruptions.clear()
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.0003 * number)
                while not interruptions:
                    optimizer.step()
            first = members[0][0, 0].item()
            assert all(bool((p == first).all()) for p in members)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_state_is_there_before_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that comes right after the kernels loses nothing."""
    from slotwise import _core

    apply_all = _core.apply_all

    def interrupted(*args: Any) -> None:
        apply_all(*args)
        raise KeyboardInterrupt

    for make in (st.Adam, st.SparseAdam):
        table = nn.Embedding(4, 2, sparse=make is st.SparseAdam)
        twin = copy.deepcopy(table)
        optimizers = [(table, make(table.parameters())), (twin, make(twin.parameters()))]
        for step in range(3):
            for module, optimizer in optimizers:
                optimizer.zero_grad()
                module(torch.tensor([1, 2])).square().sum().backward()
                is_cut = module is table and step == 0
                with monkeypatch.context() as patch:
                    if is_cut:
                        patch.setattr(_core, "apply_all", interrupted)
                        with pytest.raises(KeyboardInterrupt):
                            optimizer.step()
                    else:
                        optimizer.step()
        assert torch.equal(table.weight, twin.weight)
        states = (o.state_dict()["state"][0].values() for _, o in optimizers)
        for entries in zip(*states, strict=True):
            assert torch.equal(*map(torch.as_tensor, entries))
