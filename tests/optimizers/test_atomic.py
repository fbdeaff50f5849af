# SPDX-License-Identifier: Apache-2.0
"""A step that is refused has written nothing, on every path; and steps are counted with it."""

from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import pytest
from slotwise import IndexedSlices, Variable, optimizers
from support.optimizers import every, states

BAD: dict[str, Any] = {
    "another shape": np.ones(5),
    "another dtype": np.ones(4, np.float16),
    "an object": object(),
    "ids out of range": IndexedSlices(np.ones(1), np.array([9]), (4,)),
    "ids of another dtype": IndexedSlices(np.ones(1), np.array([0.0]), (4,)),
}


def snapshot(opt: Any) -> list[Any]:
    hidden = [getattr(opt, n, None) for n in ("_u_product", "_u_product_counter", "_cache")]
    return [np.array(x) for x in (*states(opt), *(x for x in hidden if x is not None))]


def refused(opt: Any, pairs: Any, variables: Any) -> None:
    """Nothing of the optimizer or of the variables changes."""
    before, values = snapshot(opt), [np.array(v) for v in variables]
    for _ in range(2):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            opt.apply_gradients(pairs)
        assert all(np.array_equal(v, x) for v, x in zip(variables, values, strict=True))
        assert all(np.array_equal(x, y) for x, y in zip(snapshot(opt), before, strict=True))


@pytest.mark.parametrize("constraint", [None, lambda w: np.maximum(w, 0.0)], ids=["", "limited"])
@pytest.mark.parametrize("what", BAD)
@every
def test_a_variable_twice_in_one_list(api: Any, name: str, what: str, constraint: Any) -> None:
    v = Variable(np.ones(4), name="v", constraint=constraint)
    w = Variable(np.ones(4), name="w")
    opt = getattr(api, name)(0.1)
    pairs = [(np.ones(4), v), (np.ones(4), w), (BAD[what], v)]
    refused(opt, pairs, (v, w))
    opt.apply_gradients([(np.ones(4), v), (np.ones(4), w), (np.ones(4), v)])
    assert int(opt.iterations) == 1
    refused(opt, pairs, (v, w))
    refused(opt, [(np.ones(4), v), (np.ones(4), v), (BAD[what], v)], (v, w))


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("clips", [{}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}], ids=str)
def test_lamb_with_variables_that_do_not_decay(what: str, clips: dict[str, float]) -> None:
    a, b = (Variable(np.ones(4), name=n) for n in "ab")
    opt = optimizers.Lamb(0.1, weight_decay=0.01, **clips)
    opt.exclude_from_weight_decay(var_names=["b"])
    for bad in ([(np.ones(4), a), (BAD[what], b)], [(BAD[what], a), (np.ones(4), b)]):
        refused(opt, bad, (a, b))
        opt.apply_gradients([(np.ones(4), a), (np.ones(4), b)])
        refused(opt, bad, (a, b))
    assert int(opt.iterations) == 2


@pytest.mark.parametrize("what", BAD)
def test_nadam_after_iterations_were_assigned(what: str) -> None:
    a, b = (Variable(np.ones(4), name=n) for n in "ab")
    opt = optimizers.Nadam(0.1)
    opt.build([a, b])
    for count in (5, 9):
        opt.iterations.assign(count)
        for bad in ([(np.ones(4), a), (BAD[what], b)], [(BAD[what], a), (np.ones(4), b)]):
            refused(opt, bad, (a, b))
        opt.apply_gradients([(np.ones(4), a), (np.ones(4), b)])
        assert int(opt.iterations) == count + 1


def test_what_is_run_in_parts_is_as_each_part_alone() -> None:
    """Gradients are read before anything is written, also across parts."""
    values = [np.arange(1.0, 5.0), np.arange(2.0, 6.0)]
    results = []
    for crossed in (True, False):
        a, b = (Variable(x.copy(), name=n) for x, n in zip(values, "ab", strict=True))
        opt = optimizers.Lamb(0.1, weight_decay=0.01)
        opt.exclude_from_weight_decay(var_names=["b"])
        grads = (b.value, a.value) if crossed else (b.numpy(), a.numpy())
        opt.apply_gradients([(grads[0], a), (grads[1], b)])
        results.append((a.numpy(), b.numpy()))
    assert np.array_equal(*results)


@every
def test_an_interrupt_never_comes_between_a_step_and_its_count(api: Any, name: str) -> None:
    opt, v = getattr(api, name)(1e-3), np.ones(40_000)
    g = np.ones(40_000)
    opt.apply_gradients([(g, v)])
    main = threading.get_ident()
    for i in range(20):
        before, count = v.copy(), int(opt.iterations)
        timer = threading.Timer(i * 2e-5, signal.pthread_kill, (main, signal.SIGINT))
        try:
            timer.start()
            while True:
                before, count = v.copy(), int(opt.iterations)
                opt.apply_gradients([(g, v)])
        except KeyboardInterrupt:
            pass
        timer.join()
        if int(opt.iterations) == count:
            assert np.array_equal(v, before)
        else:
            assert int(opt.iterations) == count + 1
            assert not np.array_equal(v, before)
