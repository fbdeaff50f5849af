# SPDX-License-Identifier: Apache-2.0
"""Calls on PyTorch's threads: which calls run there, and that they do the same as elsewhere."""

from __future__ import annotations

import sys
import textwrap

import pytest
from support.process import python

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the pool is shared on Linux only")

FIRST = {
    "torch first": "import torch; import slotwise; import slotwise.torch",
    "slotwise first": "import slotwise; import torch; import slotwise.torch",
    "at once": "import slotwise.torch; import slotwise, torch",
}

SETUP = """
    import os, threading, warnings
    import numpy as np
    from slotwise import raw_ops

    warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
    size = 1_000_003
    a, b = torch.ones(size), torch.empty(size)

    def tasks():
        return set(os.listdir("/proc/self/task"))

    def torch_op():
        torch.add(a, a, out=b)
        assert bool((b == 2).all())

    def call(seed=0):
        rng = np.random.default_rng(seed)
        var, m, v, grad = rng.random((4, size), dtype=np.float32)
        raw_ops.ApplyAdam(var, m, v, 0.9, 0.99, 0.1, 0.9, 0.99, 1e-8, grad)
        return var, m, v

    def same(x, y):
        return all((p.view(np.uint32) == q.view(np.uint32)).all() for p, q in zip(x, y))
"""


def run(code: str, first: str = FIRST["at once"]) -> None:
    code = "\n".join([first, textwrap.dedent(SETUP), textwrap.dedent(code), "print('ok')"])
    result = python(code, OPENBLAS_NUM_THREADS="1")
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


@linux_only
@pytest.mark.parametrize("order", FIRST)
def test_a_call_runs_on_the_threads_that_torch_has(order: str) -> None:
    """It starts none, and ends none of those that it has no use for."""
    run(
        """
        torch.set_num_threads(3)
        slotwise.set_num_threads(2)
        torch_op()
        before = tasks()
        call()
        torch_op()
        assert tasks() == before
        """,
        FIRST[order],
    )


def test_more_threads_than_torch_has() -> None:
    run("""
        torch.set_num_threads(1)
        slotwise.set_num_threads(3)
        before = tasks()
        expected = call()
        assert len(tasks() - before) == 2
        torch.set_num_threads(2)
        torch_op()
        assert same(call(), expected) and slotwise.get_num_threads() == 3
    """)


def test_same_bits_whatever_the_threads() -> None:
    """Shared, awake or asleep, more or fewer than torch's, or none."""
    run("""
        import time
        slotwise.set_num_threads(1)
        expected = call()
        for ours in 2, 3, 1, 9:
            slotwise.set_num_threads(ours)
            assert slotwise.get_num_threads() == ours
            for theirs in 3, 1, 9, 2:
                torch.set_num_threads(theirs)
                assert slotwise.get_num_threads() == ours
                for pause in 0, 0.03:
                    torch_op()
                    time.sleep(pause)
                    assert same(call(), expected)
                    assert same(call(), expected)
                assert torch.get_num_threads() == theirs
    """)


def test_number_of_threads_is_openmps_unless_it_is_set() -> None:
    run("""
        slotwise.set_num_threads(None)
        before = slotwise.get_num_threads()
        torch_op()
        call()
        assert slotwise.get_num_threads() == before
    """)


def test_denormals_are_flushed_in_each_task() -> None:
    """As they are on our workers; torch's own threads go on as they did."""
    run("""
        torch.set_num_threads(2)
        slotwise.set_num_threads(2)
        tiny, var = np.full(size, 1e-40, np.float32), np.zeros(size, np.float32)
        torch_op()
        raw_ops.ApplyGradientDescent(var, 1.0, tiny)
        assert (var == 0).all()
        small = torch.full((size,), 1e-40)
        assert bool((torch.add(small, small, out=b) > 0).all())
    """)


def test_calls_from_several_threads_at_once() -> None:
    run("""
        torch.set_num_threads(2)
        slotwise.set_num_threads(2)
        expected, results = [call(seed) for seed in range(4)], []

        def work(seed):
            for _ in range(5):
                torch.add(a, a, out=torch.empty(size))
                results.append(same(call(seed), expected[seed]))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert results == [True] * 20
    """)


def test_calls_in_the_backward_pass() -> None:
    run("""
        torch.set_num_threads(2)
        slotwise.set_num_threads(2)
        expected, results = call(), []
        x = torch.ones(size, requires_grad=True)
        x.register_hook(lambda gradient: results.append(same(call(), expected)))
        for _ in range(5):
            (x * 2).sum().backward()
        assert results == [True] * 5
    """)


def test_fork() -> None:
    """The child works with one thread: it has neither torch's nor ours."""
    run("""
        torch.set_num_threads(2)
        slotwise.set_num_threads(2)
        torch_op()
        expected = call()
        for _ in range(3):
            torch_op()
            call()
            child = os.fork()
            if child == 0:
                ok = slotwise.get_num_threads() == 1 and same(call(), expected)
                os._exit(0 if ok and len(tasks()) == 1 else 7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        torch_op()
        assert slotwise.get_num_threads() == 2 and same(call(), expected)
    """)


def test_exit() -> None:
    """With calls in exit handlers, and teams of threads that never end."""
    run("""
        import atexit, time
        torch.set_num_threads(2)
        slotwise.set_num_threads(2)

        def work(done):
            torch.add(a, a, out=torch.empty(size))
            call()
            done.set()
            time.sleep(100)

        for _ in range(2):
            done = threading.Event()
            threading.Thread(target=work, args=(done,), daemon=True).start()
            assert done.wait(30)
        atexit.register(call)
        atexit.register(torch_op)
    """)


@linux_only
def test_a_library_that_is_not_loaded_is_not_shared() -> None:
    code = """
        import slotwise
        from slotwise import _core
        assert not _core.share_team_of("libtorch_cpu.so")
        assert not _core.share_team_of("no such library")
    """
    result = python(textwrap.dedent(code))
    assert result.returncode == 0, result.stderr
