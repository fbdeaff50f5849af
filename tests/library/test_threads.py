# SPDX-License-Identifier: Apache-2.0
"""Numbers of threads, calls from several Python threads, locking, and fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import slotwise
import threadpoolctl
from support.ops import BY_NAME
from support.process import python

GRADIENT_DESCENT = BY_NAME["ApplyGradientDescent"].default()
COUNT = "import slotwise; print(slotwise.get_num_threads())"

pytestmark = pytest.mark.usefixtures("threads")


def test_set_and_get() -> None:
    for count in (1, 2, 7, np.int64(3)):
        slotwise.set_num_threads(count)
        assert slotwise.get_num_threads() == count


@pytest.mark.parametrize("count", [0, -1, 10**6, 2**40])
def test_number_out_of_range(count: int) -> None:
    before = slotwise.get_num_threads()
    with pytest.raises(ValueError, match="threads: expected"):
        slotwise.set_num_threads(count)
    assert slotwise.get_num_threads() == before


@pytest.mark.parametrize("count", [1.5, 2.0, "2", [1]])
def test_number_that_is_none(count: object) -> None:
    with pytest.raises(TypeError, match="threads: expected"):
        slotwise.set_num_threads(count)


def test_environment() -> None:
    """Ours before OpenMP's."""
    assert python(COUNT, SLOTWISE_NUM_THREADS="3").stdout.strip() == "3"
    assert python(COUNT, OMP_NUM_THREADS="5").stdout.strip() == "5"
    assert python(COUNT, SLOTWISE_NUM_THREADS="3", OMP_NUM_THREADS="5").stdout.strip() == "3"


@pytest.mark.parametrize("value", ["0", "-2", "many", "1.5"])
def test_bad_environment(value: str) -> None:
    run = python(COUNT, SLOTWISE_NUM_THREADS=value)
    assert run.returncode != 0
    assert "SLOTWISE_NUM_THREADS" in run.stderr


def test_threadpoolctl_sees_openmp() -> None:
    pools = threadpoolctl.threadpool_info()
    assert any(pool["user_api"] == "openmp" for pool in pools)
    slotwise.set_num_threads(None)
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert slotwise.get_num_threads() == 1
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        assert slotwise.get_num_threads() == 3


# Elsewhere a program cannot say on which cores a thread may run, so there is nothing to keep.
can_pin = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="os.sched_setaffinity is Linux's alone"
)


@can_pin
def test_affinity_of_today() -> None:
    """Unless a number was asked for."""
    code = """
        import os, slotwise, threadpoolctl
        cores = os.sched_getaffinity(0)
        assert slotwise.get_num_threads() <= len(cores)
        os.sched_setaffinity(0, {min(cores)})
        assert slotwise.get_num_threads() == 1
        with threadpoolctl.threadpool_limits(len(cores) + 1, user_api="openmp"):
            assert slotwise.get_num_threads() == len(cores) + 1
        slotwise.set_num_threads(2)
        assert slotwise.get_num_threads() == 2
    """
    run = python(textwrap.dedent(code))
    assert run.returncode == 0, run.stderr


@can_pin
def test_workers_may_run_on_the_cores_that_they_were_given() -> None:
    """Also after they have left the core of who woke them.

    They leave it only if the system woke them there, which it does as it likes: a worker that keeps
    what it was restricted to for leaving is noticed in about half of the runs, a right one never.
    """
    code = """
        import os, time, numpy as np, slotwise
        from slotwise import raw_ops
        var, delta = np.ones(1 << 18, np.float32), np.zeros(1 << 18, np.float32)
        slotwise.set_num_threads(3)
        def cores():
            return {int(x): os.sched_getaffinity(int(x)) for x in os.listdir("/proc/self/task")}
        def run():
            for _ in range(80):
                for _ in range(5):
                    raw_ops.ApplyGradientDescent(var, 1.0, delta)
                time.sleep(0.005)  # after which they sleep
        run()
        first = cores()
        assert len(first) >= 3, first
        run()
        assert cores() == first
        workers, least = first.keys() - {os.getpid()}, min(os.sched_getaffinity(0))
        for worker in workers:
            os.sched_setaffinity(worker, {least})
        run()
        assert all(os.sched_getaffinity(worker) == {least} for worker in workers)
    """
    run = python(textwrap.dedent(code), OPENBLAS_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("count", [2, 3, 9])
def test_a_call_waits_for_no_core(count: int) -> None:
    """Each part is done once, with more threads than cores and others that are busy."""
    slotwise.set_num_threads(count)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        var, delta = np.zeros(300_000, np.float32), np.ones(300_000, np.float32)
        for _ in range(50):
            GRADIENT_DESCENT.call({"var": var, "delta": delta}, alpha=-1.0)
        assert (var == 50).all()
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_other_threads_run_during_a_call() -> None:
    """The GIL is released: a Python thread gets on while a long call runs."""
    slotwise.set_num_threads(1)
    var, delta = np.zeros(20_000_000, np.float32), np.ones(1, np.float32)
    delta = np.broadcast_to(delta, var.shape)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        for _ in range(5):
            start = time.perf_counter()
            GRADIENT_DESCENT.call({"var": var, "delta": delta}, alpha=1.0)
            end = time.perf_counter()
            # Well inside of the call, not where it takes or gives back the GIL.
            margin = (end - start) / 4
            if sum(start + margin < t < end - margin for t in ticks) >= 2:
                return
    finally:
        done.set()
        thread.join()
    pytest.fail("no other thread ran during any of five calls")


@pytest.mark.parametrize("size", [1, 1000, 200_000])
def test_locked_calls_on_one_var_do_not_interleave(size: int) -> None:
    """Each adds 1 to every element; integers up to 2^24 are exact, so none may be lost."""
    workers, calls = 8, 100 if size > 1000 else 1000
    var, delta = np.zeros(size, np.float32), np.ones(size, np.float32)

    def work() -> None:
        for _ in range(calls):
            GRADIENT_DESCENT.call({"var": var, "delta": delta}, alpha=-1.0, use_locking=True)

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work) for _ in range(workers)]:
            future.result()
    assert (var == workers * calls).all()


def test_locked_calls_on_overlapping_views_do_not_interleave() -> None:
    """What counts is the memory of var, not the object."""
    size, shift, calls = 20_000, 5_000, 200
    memory, delta = np.zeros(size + 3 * shift, np.float32), np.ones(size, np.float32)

    def work(view: np.ndarray) -> None:
        for _ in range(calls):
            GRADIENT_DESCENT.call({"var": view, "delta": delta}, alpha=-1.0, use_locking=True)

    views = [memory[i * shift : i * shift + size] for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, view) for view in views]:
            future.result()
    expected = np.zeros_like(memory)
    for i in range(4):
        expected[i * shift : i * shift + size] += calls
    assert (memory == expected).all()


def test_locks_are_released_when_a_call_raises() -> None:
    var = np.zeros(10, np.float32)
    for _ in range(3):
        with pytest.raises(ValueError, match="delta"):
            GRADIENT_DESCENT.call({"var": var, "delta": np.ones(3, np.float32)}, use_locking=True)
    GRADIENT_DESCENT.call({"var": var, "delta": np.ones(10, np.float32)}, use_locking=True)


def test_concurrent_calls_on_different_arrays() -> None:
    """Several Python threads share the workers; targets and modes do not mix."""
    slotwise.set_num_threads(2)
    case = BY_NAME["ApplyAdam"].default()
    small = case.draw(np.float32, 1009, seed=1)
    expected = {name: np.resize(x, 300_007) for name, x in case.expected(small).items()}

    def work() -> bool:
        ok = True
        for _ in range(10):
            arrays = {name: np.resize(x, 300_007) for name, x in small.items()}
            case.call(arrays)
            ok &= all((arrays[name] == x).all() for name, x in expected.items())
        return ok

    with ThreadPoolExecutor(4) as pool:
        assert all(f.result() for f in [pool.submit(work) for _ in range(4)])


FORK = """
    import multiprocessing, os, sys, warnings
    import numpy as np
    import slotwise
    from slotwise import raw_ops

    warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
    size = 2_000_000

    def call():
        var = np.zeros(size, np.float32)
        raw_ops.ApplyGradientDescent(
            var=var, alpha=-1.0, delta=np.ones(size, np.float32), use_locking=True
        )
        return bool((var == 1).all())

    slotwise.set_num_threads(4)
    assert call()  # the pool of threads exists now
"""


def run_forking(code: str) -> str:
    run = python(textwrap.dedent(FORK) + textwrap.dedent(code))
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_fork() -> None:
    """The child has none of its parent's threads: it works with one, rather than wait for them."""
    output = run_forking("""
        child = os.fork()
        if child == 0:
            ok = call() and slotwise.get_num_threads() == 1
            os._exit(0 if ok else 7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert slotwise.get_num_threads() == 4 and call()
        print("ok")
    """)
    assert output == "ok\n"


def test_multiprocessing_fork() -> None:
    output = run_forking("""
        with multiprocessing.get_context("fork").Pool(3) as pool:
            results = [pool.apply_async(call) for _ in range(6)]
            print(all(r.get(timeout=30) for r in results))
    """)
    assert output == "True\n"


def test_fork_while_another_thread_holds_a_lock() -> None:
    """A lock whose holder does not exist in the child does not block it."""
    output = run_forking("""
        import threading, time

        shared = np.zeros(30_000_000, np.float32)
        delta = np.broadcast_to(np.float32(1), shared.shape)
        stop = threading.Event()

        def hold():
            while not stop.is_set():
                raw_ops.ApplyGradientDescent(var=shared, alpha=1.0, delta=delta, use_locking=True)

        thread = threading.Thread(target=hold)
        thread.start()
        time.sleep(0.05)
        for _ in range(5):
            child = os.fork()
            if child == 0:
                part = shared[:10]
                raw_ops.ApplyGradientDescent(
                    var=part, alpha=1.0, delta=delta[:10], use_locking=True
                )
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            time.sleep(0.01)
        stop.set()
        thread.join()
        print("ok")
    """)
    assert output == "ok\n"


def test_out_of_memory_in_a_thread() -> None:
    """An exception, as anywhere else: it may not leave a parallel region by itself."""
    run = python(
        textwrap.dedent("""
            import resource
            import numpy as np, slotwise
            slotwise.set_num_threads(4)
            ids = np.arange(3_000_000)
            slotwise.RowPlan(ids[:100_000], ids.size)
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            if used > 1 << 40:  # a sanitizer's shadow memory, which no limit can be put to
                raise SystemExit(print(True))
            failed = 0
            for more in range(0, 300, 6):
                resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), -1))
                try:
                    slotwise.RowPlan(ids, ids.size)
                except MemoryError:
                    failed += 1
            print(0 < failed < 50)
        """)
    )
    assert (run.returncode, run.stdout) == (0, "True\n"), run.stderr
