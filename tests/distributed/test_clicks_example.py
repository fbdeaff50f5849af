# SPDX-License-Identifier: Apache-2.0
"""The example that trains on ranks: the same bits for any number of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slotwise.distributed import in_threads
from threadpoolctl import threadpool_limits

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = "--examples 2048 --held-out 200 --batch 256 --dim 4 --hidden 6"


@pytest.fixture
def clicks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("clicks_ranks")


def trained(clicks: Any, ranks: int) -> list[Any]:
    args = clicks.parser(clicks.__doc__).parse_args(SMALL.split())
    with threadpool_limits(1, user_api="blas"):
        return in_threads(ranks, clicks.train, args)


def test_the_same_loss_on_any_number_of_ranks(clicks: Any) -> None:
    [expected] = trained(clicks, 1)
    assert expected.held_out[-1] < expected.held_out[0]
    assert len(expected.test.clicked) == 200
    assert len({*expected.digests}) == len(clicks.FEATURES)
    for ranks in (2, 3):
        for found in trained(clicks, ranks):
            assert found.held_out == expected.held_out
            assert found.digests == expected.digests
            assert found.logit.tobytes() == expected.logit.tobytes()
            assert found.constant[0] == expected.constant[0]
            assert found.seen == expected.seen
            assert sum(found.balance["rows"]) == sum(f.rows for f in clicks.FEATURES)


def test_shares_are_dealt_out_once(clicks: Any) -> None:
    for ranks in range(1, clicks.SHARES + 1):

        def own(comm: Any) -> list[int]:
            return [*clicks.Shared(None, 0, comm).own]

        parts = in_threads(ranks, own)
        assert all(parts)
        assert [share for part in parts for share in part] == [*range(clicks.SHARES)]


def test_more_ranks_than_shares(clicks: Any) -> None:
    with pytest.raises(ValueError, match="expected at most 8 ranks, got 9"):
        trained(clicks, 9)


def test_a_process_that_no_launcher_started(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert clicks.started().size == 1


def test_the_report(clicks: Any, tmp_path: Path) -> None:
    clicks.plt.switch_backend("Agg")
    result = trained(clicks, 2)[0]
    text = clicks.summary(result)
    assert f"log loss {result.held_out[-1]!r}" in text
    assert np.isfinite(result.share)
    clicks.plot(result, tmp_path / "x.png", lambda axes: clicks.draw_balance(axes, result))
    assert (tmp_path / "x.png").stat().st_size > 10_000
