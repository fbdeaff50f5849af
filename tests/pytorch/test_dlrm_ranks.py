# SPDX-License-Identifier: Apache-2.0
"""The example that trains a DLRM on ranks: the steps of one process, whatever each rank has."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slotwise import ShardedTable, distributed, initializers
from support.jobs import Job
from torch.nn import functional

EXAMPLES = Path(__file__).parents[2] / "examples"
# Sums in another order differ by a few of the last bits of float32 (1.2e-7 each).
CLOSE: Any = {"rtol": 1e-5, "atol": 1e-6}
SMALL = "--batches 12 --batch 257 --rows 1000 --held-out 501"
# Of the loss after 12 batches: that of 2 and 3 ranks differed by 4e-9. More is allowed, as such
# differences may switch a ReLU on or off: 1e-4 after 100 batches of 2048.
BAND = 1e-4


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`support.rank_dlrm`; jobs have this path as well."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("support.rank_dlrm")


def by_torch_alone(program: Any) -> dict[str, Any]:
    """What `program.trained` returns, of whole batches."""
    sizes, tables = program.SIZES, []
    for number, rows in enumerate(sizes.rows):
        start = initializers.Uniform(-sizes.bound(number), sizes.bound(number), sizes.seed)
        name = f"table{number}"
        table = ShardedTable((rows, sizes.dim), name=name, initializer=start)
        tables.append(torch.from_numpy(table.to_array()).requires_grad_())

    def pool(batch: Any) -> Any:
        bags = zip(batch.ids, tables, batch.offsets, strict=True)
        pooled = [functional.embedding_bag(*each, mode="sum") for each in bags]
        return torch.stack(pooled, dim=1)

    model = program.dlrm.Model(sizes, pool)
    model.optimizers = [torch.optim.SGD([*model.networks, *tables], program.RATE)]
    losses = [model.step(batch)[0] for batch in program.batches()]
    weights = {"tables": tables, "networks": model.networks}
    return {"losses": losses} | {
        name: [each.detach().numpy() for each in found] for name, found in weights.items()
    }


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    np.testing.assert_allclose(found["losses"], expected["losses"], **CLOSE)
    for what in ("tables", "networks"):
        for own, other in zip(found[what], expected[what], strict=True):
            np.testing.assert_allclose(own, other, **CLOSE)


def test_parts_are_of_whole_bags(program: Any) -> None:
    dlrm, rng = program.dlrm, np.random.default_rng(5)
    world = dlrm.World(program.SIZES.rows, 3, rng)
    batch = world.draw(9, rng)
    for cuts in ([0, 9], [0, 4, 9], [0, 0, 1, 9, 9]):
        parts = [batch.part(slice(*own)) for own in pairwise(cuts)]
        assert [len(part.clicked) for part in parts] == np.diff(cuts).tolist()
        for what in ("numbers", "clicked"):
            assert torch.equal(
                torch.cat([getattr(part, what) for part in parts]), getattr(batch, what)
            )
        logits = [
            world.logit(
                part.numbers.numpy(),
                [ids.numpy() for ids in part.ids],
                [offsets.numpy() for offsets in part.offsets],
            )
            for part in parts
        ]
        np.testing.assert_allclose(np.concatenate(logits), batch.logit, rtol=1e-5)
        np.testing.assert_array_equal(np.concatenate([part.logit for part in parts]), batch.logit)


def test_steps_of_one_rank_are_those_of_torch(program: Any) -> None:
    assert_close(program.trained(distributed.local()), by_torch_alone(program))


def test_steps_of_ranks_are_those_of_one_process(program: Any) -> None:
    """Whether batches have the same number for each rank, another, or none."""
    job = Job("torch", 3, "support.rank_dlrm")
    assert job.status == 0, job.output
    (line,) = re.findall("^trained (.*)$", job.output, re.MULTILINE)
    assert_close(json.loads(line), by_torch_alone(program))


def test_a_rank_that_fails_ends_the_other(program: Any) -> None:
    """Which waits for gradients of the networks."""
    job = Job("torch", 2, "support.rank_dlrm", "top")
    assert job.status != 0 and job.orphans == 0
    assert "KeyError: 'no such page'" in job.output
    assert re.search("RuntimeError: .*gloo.* by peer", job.output), job.output


def held_out_loss(output: str) -> float:
    return float(re.findall(r"^the model +([\d.]+)", output, re.MULTILINE)[0])


def test_two_ranks_come_to_the_loss_of_one(
    program: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dlrm_ranks.py", *SMALL.split()])
    assert program.dlrm_ranks.main() == 0
    alone = capsys.readouterr().out
    assert "ranks: 1," in alone

    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    monkeypatch.setenv("SLOTWISE_NUM_THREADS", "1")
    command = [*launcher, str(EXAMPLES / "dlrm_ranks.py"), *SMALL.split()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ranks: 2, threads of each: 1" in done.stdout
    assert held_out_loss(done.stdout) == pytest.approx(held_out_loss(alone), abs=BAND)
