# SPDX-License-Identifier: Apache-2.0
"""Several optimizers in one checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import CheckpointManager, IndexedSlices, Variable, optimizers
from slotwise.optimizers import legacy

SHAPE = (4, 3)


def variables(fill: Any = 1.0) -> Any:
    return {n: Variable(np.full(SHAPE, fill, np.float32), name=n) for n in ("gen", "disc", "both")}


def pair(api: Any) -> Any:
    """One trains gen and both, the other disc and both."""
    scaled = optimizers.LossScaleOptimizer(api.SGD(0.2, momentum=0.5), initial_scale=4.0)
    return {"gen": api.Adam(0.1), "disc": scaled}


def step(opts: Any, own: Any, number: Any = 1) -> None:
    own["disc"].value[...] += 0  # both are written to by both
    for name, opt in opts.items():
        if isinstance(opt, optimizers.LossScaleOptimizer):
            opt.get_scaled_loss(1.0), opt.get_unscaled_gradients([])
        grads = [np.full(SHAPE, number + i, np.float32) for i in range(2)]
        opt.apply_gradients(list(zip(grads, (own[name], own["both"]), strict=True)))


def trained(api: Any) -> Any:
    opts, own = pair(api), variables()
    for number in range(2):
        step(opts, own, number)
    return opts, own


def check_same(opts: Any, own: Any, others: Any, new: Any) -> None:
    for name, opt in opts.items():
        a, b = opt.state_dict(), others[name].state_dict()
        assert a.pop("config") == b.pop("config") and a.keys() == b.keys()
        for key, x in a.items():
            np.testing.assert_array_equal(x, b[key])
    for name, variable in own.items():
        np.testing.assert_array_equal(variable, new[name])


@pytest.mark.parametrize("api", [optimizers, legacy])
@pytest.mark.parametrize("name", ["x", "x.safetensors"])
@pytest.mark.parametrize("how", ["fresh", "saved", "used"])
def test_there_and_back(tmp_path: Path, api: Any, name: Any, how: Any) -> None:
    opts, own = trained(api)
    slotwise.save(tmp_path / name, optimizer=opts, variables=own.values(), extra=1)
    new, others = variables(0.0), "saved" if how == "saved" else pair(api)
    if how == "used":
        step(others, new, 5)
    state = slotwise.load(tmp_path / name, optimizer=others, variables=[*new.values()][::-1])
    assert not state.report and not state.report.fresh and state.extra == 1
    assert [*state.config["optimizers"]] == ["gen", "disc"]
    others = state.optimizer
    check_same(opts, own, others, new)
    step(opts, own, 3)
    step(others, new, 3)
    check_same(opts, own, others, new)


def test_names(tmp_path: Path) -> None:
    opts, own = trained(optimizers)
    slotwise.save(tmp_path / "x", optimizer=opts, variables=own.values())
    with slotwise.state.Reader(tmp_path / "x") as reader:
        state = reader.metadata["state"]
        assert reader.metadata["version"] == 1
    of_gen = ["iterations", "learning_rate", "gen/m", "gen/v", "both/m", "both/v"]
    of_disc = ["iterations", "learning_rate", "loss_scale", "good_steps", "disc/m", "both/m"]
    expected = [*(f"gen/{n}" for n in of_gen), *(f"disc/{n}" for n in of_disc)]
    assert sorted(state) == sorted(expected)
    found = slotwise.load_array(tmp_path / "x", "disc/both/m")
    np.testing.assert_array_equal(found, opts["disc"].state_dict()["both/m"])


def test_renamed(tmp_path: Path) -> None:
    opts, own = trained(optimizers)
    slotwise.save(tmp_path / "x", optimizer=opts, variables=own.values())
    new, others = variables(0.0), pair(optimizers)
    given = {"gen": new["gen"], "disc": new["disc"], "table": new["both"]}
    rename = {"both": "table"}
    state = slotwise.load(tmp_path / "x", optimizer=others, variables=given, rename=rename)
    assert not state.report
    found = others["gen"].state_dict(given)["table/v"]
    np.testing.assert_array_equal(found, opts["gen"].state_dict()["both/v"])
    rename = {"gen": "g"}  # the variable, not the optimizer
    given = {"g": new["gen"], "disc": new["disc"], "both": new["both"]}
    state = slotwise.load(
        tmp_path / "x", optimizer=pair(optimizers), variables=given, rename=rename
    )
    assert not state.report


def test_what_does_not_fit(tmp_path: Path) -> None:
    opts, own = trained(optimizers)
    values = own.values()
    for bad, error, match in (
        ({}, ValueError, "save: optimizer: expected one or more, got an empty dict"),
        (
            {"a/b": opts["gen"]},
            ValueError,
            "save: optimizer: expected names without '/', got 'a/b'",
        ),
        ({"": opts["gen"]}, ValueError, "expected names without '/', got ''"),
        ({1: opts["gen"]}, ValueError, "expected names without '/', got 1"),
        ({"a": opts["gen"], "b": opts["gen"]}, ValueError, "expected ones that differ"),
        (
            {"a": opts["disc"], "b": opts["disc"].inner_optimizer},
            ValueError,
            "expected ones that differ",
        ),
        (
            {"a": 1},
            TypeError,
            "save: optimizer: 'a': expected one of slotwise.optimizers or slotwise.torch, got int",
        ),
        (
            [opts["gen"]],
            TypeError,
            "save: optimizer: expected one of slotwise.optimizers or slotwise.torch, got list",
        ),
    ):
        with pytest.raises(error, match=match):
            slotwise.save(tmp_path / "x", optimizer=bad, variables=values)
    assert not (tmp_path / "x").exists()
    clash = {**own, "gen/iterations": np.zeros(3)}
    with pytest.raises(ValueError, match=r"several of \['gen/iterations'\]"):
        slotwise.save(tmp_path / "x", optimizer=opts, variables=clash)


def test_one_or_several(tmp_path: Path) -> None:
    opts, own = trained(optimizers)
    slotwise.save(tmp_path / "several", optimizer=opts, variables=own.values())
    one = {"gen": own["gen"], "both": own["both"]}
    slotwise.save(tmp_path / "one", optimizer=opts["gen"], variables=one)
    before = own["gen"].numpy()
    for strict in (True, False):
        with pytest.raises(ValueError, match=r"expected a dict with \['gen', 'disc'\], got one"):
            slotwise.load(
                tmp_path / "several", optimizer=opts["gen"], variables=own.values(), strict=strict
            )
        with pytest.raises(ValueError, match="the state is of one: expected an optimizer, got a d"):
            slotwise.load(tmp_path / "one", optimizer=opts, variables=one, strict=strict)
    np.testing.assert_array_equal(own["gen"], before)


def test_some_of_several(tmp_path: Path) -> None:
    opts, own = trained(optimizers)
    slotwise.save(tmp_path / "x", optimizer=opts, variables=own.values())
    new, other = variables(0.0), {"gen": optimizers.Adam(0.1)}
    given = {"optimizer": other, "variables": new.values()}
    with pytest.raises(ValueError, match=r"unexpected: disc/iterations, .*disc/both/m"):
        slotwise.load(tmp_path / "x", **given)
    assert not other["gen"].variables[1:]
    report = slotwise.load(tmp_path / "x", **given, strict=False).report
    assert len(report.unexpected) == 6 and not report.missing
    check_same({"gen": opts["gen"]}, own, other, new)
    more = {**pair(optimizers), "third": optimizers.SGD()}
    with pytest.raises(ValueError, match="missing: third/iterations, third/learning_rate"):
        slotwise.load(tmp_path / "x", optimizer=more, variables=new.values())


def test_settings_that_differ(tmp_path: Path) -> None:
    opts, own = trained(optimizers)
    slotwise.save(tmp_path / "x", optimizer=opts, variables=own.values())
    others = {**pair(optimizers), "gen": optimizers.Adam(0.1, beta_1=0.5)}
    with pytest.raises(ValueError, match=r"gen\.config\.beta_1: the state has 0\.9"):
        slotwise.load(tmp_path / "x", optimizer=others, variables=variables().values())
    assert [*others["gen"].variables] == [others["gen"].iterations]


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_manager(tmp_path: Path, api: Any) -> None:
    opts, own = trained(api)
    manager = CheckpointManager(tmp_path, max_to_keep=1)
    manager.save(opts["gen"].iterations, optimizer=opts, variables=own.values())
    new = variables(0.0)
    state = manager.restore_latest(optimizer="saved", variables=new.values())
    check_same(opts, own, state.optimizer, new)


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_deltas(tmp_path: Path, api: Any) -> None:
    emb, w = Variable(np.ones((50, 2), np.float32), name="emb"), Variable(np.ones(3), name="w")
    opts = {"a": api.Adagrad(0.1), "b": api.SGD(0.1)}
    touched = slotwise.track(emb)
    given = {"optimizer": opts, "variables": [emb, w]}

    def train(*rows: Any) -> None:
        grad = IndexedSlices(np.ones((len(rows), 2), np.float32), np.array(rows), emb.shape)
        opts["a"].apply_gradients([(grad, emb)])
        opts["b"].apply_gradients([(np.ones(3), w)])

    train(1, 2)
    slotwise.save(tmp_path / "base", **given)
    train(7, 3)
    slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", **given)
    assert touched.rows.size == 0
    slot = "a/emb/accumulator"
    for name in ("emb", slot):
        assert slotwise.load_array(tmp_path / "delta", name).shape == (2, 2)
    new = [Variable(np.zeros((50, 2), np.float32), name="emb"), Variable(np.zeros(3), name="w")]
    state = slotwise.load(
        tmp_path / "base", deltas=[tmp_path / "delta"], optimizer="saved", variables=new
    )
    for name, opt in opts.items():
        check_same({name: opt}, {}, state.optimizer, {})
    np.testing.assert_array_equal(emb, new[0])
    np.testing.assert_array_equal(w, new[1])


def test_one_that_has_no_state_yet(tmp_path: Path) -> None:
    """Whose variables are nobody's in the checkpoint begins anew, too."""
    opts, own = trained(optimizers)
    opts["disc"] = optimizers.SGD(0.2, momentum=0.5)
    slotwise.save(tmp_path / "x", optimizer=opts, variables=own.values())
    new, others = variables(0.0), {**pair(optimizers), "disc": optimizers.SGD(0.2, momentum=0.5)}
    report = slotwise.load(tmp_path / "x", optimizer=others, variables=new.values()).report
    assert not report and report.fresh == ["disc"]
    step(others, new)
    step(opts, own)
    check_same(opts, own, others, new)
