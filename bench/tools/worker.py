"""One build of slotwise in a process of its own, taking samples when told to.

Speaks JSON, a line each way: ``{"prepare": {...case...}}``, ``{"sample": chunk, "seconds": s}``,
``{"quit": true}``. Used by the guard, which holds two builds against each other.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from bench.measure.in_turn import timer
from bench.peers.slotwise import PEER
from bench.work.base import dense_work


def main() -> None:
    run: Any = None
    out = sys.stdout
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        if "threads" in order:
            import slotwise

            PEER.start(order["threads"])
            answer = {"version": slotwise.__version__, "file": slotwise.__file__}
        elif "prepare" in order:
            run = timer(PEER.dense(dense_work(**order["prepare"])))
            run(1)
        elif "sample" in order:
            calls, spent = 0, 0.0
            while spent < order["seconds"]:
                spent += run(order["sample"])
                calls += order["sample"]
            answer = {"seconds": spent / calls}
        elif "quit" in order:
            return
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
