# SPDX-License-Identifier: Apache-2.0
"""Proof that the sanitizers watch the kernels: what they must report, and what they must not.

inside, outside      one thread updates an array up to its end, or past it
locked, unlocked     two threads update one array in turn, or (as documented) at the same time
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import slotwise
from slotwise import raw_ops

SIZE = 1_000_000
how = sys.argv[1]
var = np.zeros(SIZE, np.float32)
if how == "outside":
    var = np.lib.stride_tricks.as_strided(var, (SIZE + 1,))
delta = np.ones_like(var)
slotwise.set_num_threads(2)


def work() -> None:
    for _ in range(20):
        raw_ops.ApplyGradientDescent(var, 1.0, delta, use_locking=how == "locked")


with ThreadPoolExecutor(2) as pool:
    for future in [pool.submit(work) for _ in range(2 if how.endswith("locked") else 1)]:
        future.result()
