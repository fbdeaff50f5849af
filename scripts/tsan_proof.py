"""Two threads update one array: in turn with `locked`, at the same time with `unlocked`.

TSan must report the second and not the first. That is no bug: `use_locking=False` is documented to
interleave. It shows that the kernels' memory accesses are really watched.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import slotwise
from slotwise import raw_ops

slotwise.set_num_threads(2)
var = np.zeros(1_000_000, np.float32)
delta = np.ones_like(var)


def work() -> None:
    for _ in range(20):
        raw_ops.ApplyGradientDescent(var, 1.0, delta, use_locking=sys.argv[1] == "locked")


with ThreadPoolExecutor(2) as pool:
    for future in [pool.submit(work) for _ in range(2)]:
        future.result()
