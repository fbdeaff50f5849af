# SPDX-License-Identifier: Apache-2.0
"""`slotwise convert` of files that the real PyTorch saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
import slotwise.torch as st
import torch
from slotwise import optimizers
from support.command_line import done, refused, run


class Code:
    """What weights_only does not load."""


def trained(cls: Any, named: bool, **options: Any) -> tuple[Any, Any]:
    """A model and its optimizer, after two steps."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)]
    model = torch.nn.Sequential(*layers)
    opt = cls(model.named_parameters() if named else model.parameters(), lr=0.25, **options)
    for _ in range(2):
        step(model, opt)
    return model, opt


def step(model: Any, opt: Any) -> None:
    opt.zero_grad()
    model(torch.arange(12.0).reshape(4, 3)).square().mean().backward()
    opt.step()


def test_a_state_dict(tmp_path: Path) -> None:
    model, _ = trained(torch.optim.SGD, False)
    state = {
        name: x.bfloat16() if x.is_floating_point() else x for name, x in model.state_dict().items()
    }
    for legacy in (False, True):  # the older format is no zip file
        path, out = tmp_path / f"w{legacy}.pt", tmp_path / f"out{legacy}"
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
        assert done("convert", path, out).startswith(f"{out}: 9 tensors, ")
        arrays = slotwise.load(out).arrays
        assert [*arrays] == [*state]
        assert arrays["0.weight"].dtype == ml_dtypes.bfloat16
        for name, tensor in state.items():
            np.testing.assert_array_equal(arrays[name].astype(np.float64), tensor.double().numpy())


@pytest.mark.parametrize("named", [False, True])
def test_an_optimizer_of_pytorch_goes_on(named: bool, tmp_path: Path) -> None:
    model, opt = trained(torch.optim.AdamW, named, weight_decay=0.5)
    rest = {"epoch": 3, "rng": torch.ones(2)}
    torch.save(
        {"model": model.state_dict(), "optimizer": opt.state_dict(), **rest}, tmp_path / "x.pt"
    )
    found = run("convert", "x.pt", "out", "--optimizer", "torch.AdamW", folder=tmp_path)
    assert found.returncode == 0
    notes = found.stderr.splitlines()
    assert notes[0] == "slotwise: note: left out, as JSON cannot hold it: rng"
    assert len(notes) == 1 + (not named)  # without names, by their order
    other, _ = trained(torch.optim.SGD, False)
    own = st.AdamW(other.named_parameters(), lr=0.0, weight_decay=0.0)
    loaded = slotwise.load(tmp_path / "out", optimizer=own, variables=other)
    assert loaded.extra == {"epoch": 3}
    step(model, opt)
    step(other, own)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_optimizer_of_keras(tmp_path: Path) -> None:
    model, opt = trained(torch.optim.Adam, False, betas=(0.5, 0.75))
    both = {"state_dict": model.state_dict(), "optimizer_state_dict": opt.state_dict()}
    torch.save(both, tmp_path / "x.pth")
    found = run("convert", "x.pth", "out", "--optimizer", "Adam", folder=tmp_path)
    assert found.returncode == 0 and "epsilon" in found.stderr
    config = json.loads(done("show", "out", "--json", folder=tmp_path))["config"]
    assert config["class_name"] == "Adam"
    variables = {
        n: slotwise.Variable(x.numpy().copy(), name=n) for n, x in model.state_dict().items()
    }
    loaded = slotwise.load(tmp_path / "out", optimizer="saved", variables=variables)
    own = loaded.optimizer
    assert isinstance(own, optimizers.Adam) and int(own.iterations) == 2
    assert (own.beta_1, own.beta_2, own.epsilon, float(own.learning_rate)) == (
        0.5,
        0.75,
        1e-8,
        0.25,
    )
    names = [name for name, _ in model.named_parameters()]
    for name, state in zip(names, opt.state_dict()["state"].values(), strict=True):
        np.testing.assert_array_equal(own.state_dict()[f"{name}/m"], state["exp_avg"])
        np.testing.assert_array_equal(own.state_dict()[f"{name}/v"], state["exp_avg_sq"])


OTHERS = {
    "Adagrad": (torch.optim.Adagrad, {}, "Adam"),
    "RMSprop": (torch.optim.RMSprop, {}, "SGD"),
    "Adam, by SGD": (torch.optim.Adam, {}, "SGD"),
    "Adam, by Adamax": (torch.optim.Adam, {}, "Adamax"),
    "SGD": (torch.optim.SGD, {"momentum": 0.5}, "Adam"),
    "Adam with decay": (torch.optim.Adam, {"weight_decay": 0.5}, "AdamW"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_state_of_another_optimizer_is_refused(case: str, tmp_path: Path) -> None:
    cls, options, wanted = OTHERS[case]
    model, opt = trained(cls, True, **options)
    both = {"model": model.state_dict(), "optimizer": opt.state_dict()}
    torch.save(both, tmp_path / "x.pt")
    text = refused(2, "convert", "x.pt", "out", "--optimizer", f"torch.{wanted}", folder=tmp_path)
    assert text.startswith(f"--optimizer torch.{wanted}: expected ")
    if case == "Adam with decay":  # Keras's AdamW decays apart, too
        text = refused(2, "convert", "x.pt", "out", "--optimizer", "AdamW", folder=tmp_path)
        assert "got one that is added to gradients" in text
    assert not (tmp_path / "out").exists()
    found = run(
        *("convert", "x.pt", "out", "--optimizer", f"torch.{cls.__name__}"), folder=tmp_path
    )
    assert found.returncode == 0 and (tmp_path / "out").exists()


def test_no_decay(tmp_path: Path) -> None:
    """It is none in Keras's AdamW, too, which has 0.004 by default."""
    model, opt = trained(torch.optim.AdamW, True, weight_decay=0)
    torch.save({"model": model.state_dict(), "optimizer": opt.state_dict()}, tmp_path / "x.pt")
    found = run("convert", "x.pt", "out", "--optimizer", "AdamW", folder=tmp_path)
    assert found.returncode == 0
    config = json.loads(done("show", "out", "--json", folder=tmp_path))["config"]
    assert config["config"]["weight_decay"] == 0


def test_what_is_refused(tmp_path: Path) -> None:
    model, opt = trained(torch.optim.Adam, False)
    both = {"model": model.state_dict(), "optimizer": opt.state_dict()}
    torch.save(both, tmp_path / "x.pt")
    text = refused(2, "convert", "x.pt", "out", folder=tmp_path)
    assert "--optimizer CLASS says which it is" in text
    text = refused(2, "convert", "x.pt", "out", "--optimizer", "torch.Lyon", folder=tmp_path)
    assert text.startswith("--optimizer: expected a class of slotwise.torch")
    found = run("convert", "x.pt", "none", "--optimizer", "none", folder=tmp_path)
    assert found.stderr == "slotwise: note: the optimizer is left out\n"
    refused(2, "convert", "x.pt", "none", "--optimizer", "none", folder=tmp_path)  # it exists
    torch.save(opt.state_dict(), tmp_path / "o.pt")
    assert "optimizer alone" in refused(2, "convert", "o.pt", "out", folder=tmp_path)
    torch.save({"w": Code()}, tmp_path / "code.pt")
    assert "weights_only" in refused(1, "convert", "code.pt", "out", folder=tmp_path)
    (tmp_path / "cut.pt").write_bytes((tmp_path / "x.pt").read_bytes()[:-500])
    refused(1, "convert", "cut.pt", "out", folder=tmp_path)
    both["model"] = {name: x for name, x in model.state_dict().items() if name != "0.bias"}
    torch.save(both, tmp_path / "few.pt")
    text = refused(2, "convert", "few.pt", "out", "--optimizer", "Adam", folder=tmp_path)
    assert "the optimizer has 6 parameters" in text
    assert not (tmp_path / "out").exists()
