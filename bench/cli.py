# SPDX-License-Identifier: Apache-2.0
"""The command line of ``python -m bench``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from bench.measure.in_turn import Plan
from bench.peers import all_peers
from bench.peers.base import Peer
from bench.results import records as store
from bench.results.units import parse_size, show_count
from bench.run import (
    QUICK_S,
    Task,
    expected_s,
    new_results,
    quick_plan,
    quickened,
    run,
    spread,
    tasks,
)
from bench.show.progress import progress, show_span
from bench.suites import all_suites
from bench.suites.base import LEVELS, Options
from bench.tools import threads
from bench.work.base import DTYPES
from bench.work.ops import OPS, ROW_CALLS, SPARSE_OPS
from bench.work.optimizers import OPTIMIZERS
from bench.work.ranks import SIMULATED, STEP
from bench.work.state import CALLS as STATE_CALLS
from bench.work.torch_steps import MODEL, TORCH_OPTIMIZERS

EPILOG = """
examples:
  python -m bench                                     quick (5 minutes), against the peers installed
  python -m bench --suite targets                     the project's speed targets, met or not met
  python -m bench --suite full --against tensorflow torch --out report
  python -m bench --suite dense --op ApplyAdam --size 64 4Ki 1Mi --against numpy
  python -m bench --resume --out report               go on with an interrupted run
  python -m bench --install-peers                     the peers in an environment of their own
  python -m bench show report                         the tables and the report of an earlier run
  python -m bench compare old.json new.json           what changed between two runs
  python -m bench guard --reference PATH|VERSION      fail if the installed build became slower
  python -m bench deferred                            growth, flushes, bookkeeping of deferred steps
  python -m bench background                          what a save costs steps that go on meanwhile
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench",
        description="slotwise and its peers on the same work, in turn, beside the memory's limit",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--suite",
        "--suites",
        nargs="+",
        default=["quick"],
        choices=[*LEVELS, *all_suites()],
        metavar="NAME",
        help=f"levels ({', '.join(LEVELS)}), suites ({', '.join(all_suites())})",
    )
    p.add_argument(
        "--against",
        nargs="*",
        choices=list(all_peers()),
        metavar="PEER",
        help=f"peers ({', '.join(all_peers())}); default: those installed",
    )
    p.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for the results")
    p.add_argument(
        "--op",
        nargs="+",
        default=[],
        choices=[
            *(*OPS, *SPARSE_OPS, *ROW_CALLS, *OPTIMIZERS, *STATE_CALLS),
            *(*TORCH_OPTIMIZERS, MODEL, STEP, SIMULATED),
        ],
        metavar="OP",
    )
    p.add_argument("--dtype", nargs="+", default=[], choices=list(DTYPES), metavar="DTYPE")
    p.add_argument("--size", nargs="+", default=[], type=parse_size, metavar="N", help="64, 16Ki")
    p.add_argument("--threads", type=int, default=2, help="threads for everyone (default 2)")
    p.add_argument(
        "--time",
        type=float,
        metavar="F",
        help="F times the usual time per case (default 1; quick as a whole has 5 minutes)",
    )
    p.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
    p.add_argument("--plain", action="store_true", help="store the numbers only, show nothing")
    p.add_argument("--install-peers", action="store_true", help="install the peers, then stop")
    p.add_argument("--environment", type=Path, default=Path(".venv-bench"), help="where to")
    return p


def _positive(text: str) -> int:
    """A size of 1 or more."""
    size = parse_size(text)
    if size < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return size


def _tool_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands that measure nothing new."""
    show = argparse.ArgumentParser(prog="python -m bench show")
    show.add_argument(
        "path", type=Path, nargs="+", help="a results file, or its folder; several are joined"
    )
    show.add_argument(
        "--write", type=Path, nargs="+", default=[], metavar="FILE", help="pages with marks to fill"
    )
    show.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="PATH", help="runs of other machines"
    )
    compare = argparse.ArgumentParser(prog="python -m bench compare")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    guard = argparse.ArgumentParser(prog="python -m bench guard")
    guard.add_argument(
        "--reference", required=True, help="a checkout's folder, a wheel, or a version"
    )
    guard.add_argument("--threads", type=int, default=2)
    guard.add_argument("--limit", type=float, default=1.10, help="slower by this much: fail")
    guard.add_argument("--count", action="store_true", help="count instructions too (valgrind)")
    guard.add_argument("--out", type=Path, default=Path("build/bench/guard.json"))
    deferred = argparse.ArgumentParser(prog="python -m bench deferred")
    deferred.add_argument("--threads", type=int, default=2)
    deferred.add_argument("--rows", type=_positive, default=64 << 20, help="of tables, at most")
    deferred.add_argument("--repeats", type=_positive, default=6, help="the least time counts")
    background = argparse.ArgumentParser(prog="python -m bench background")
    background.add_argument("--threads", type=int, default=2)
    background.add_argument("--size", type=_positive, default=4 << 30, help="bytes of the table")
    background.add_argument("--repeats", type=_positive, default=3, help="the median counts")
    background.add_argument("--network", action="store_true", help="steps have a network, too")
    return {
        "show": show,
        "compare": compare,
        "guard": guard,
        "deferred": deferred,
        "background": background,
    }


def _peers(names: Sequence[str] | None, console: Console) -> list[Peer]:
    """The peers to measure; one that was asked for by name and is missing is an error."""
    if names is None:
        return [peer for peer in all_peers().values() if peer.missing() is None]
    chosen = [all_peers()[name] for name in names]
    for peer in chosen:
        reason = peer.missing()
        if reason:
            console.print(f"[red]{peer.name}: {reason}[/]; python -m bench --install-peers")
            raise SystemExit(2)
    return chosen


def _restrict_cores(threads: int) -> None:
    """Not more cores than threads: it binds peers that have no setting of their own."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[:threads]))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what libraries print to stderr while they load; shown only if loading fails."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(saved, kept.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _chosen(names: Sequence[str]) -> tuple[str, list[str]]:
    """The level and the suites; thread scaling, which takes long, is part of full alone."""
    level = next((name for name in names if name in LEVELS), "quick")
    suites = [name for name in names if name not in LEVELS]
    every = [name for name in all_suites() if name != threads.SUITE or level == "full"]
    return level, suites or every


def measure(args: argparse.Namespace, console: Console) -> int:
    """Runs the chosen suites, prints the tables; exit code 1 if a case failed or differed."""
    from bench.peers.slotwise import PEER as ours

    started = time.perf_counter()
    reason = ours.missing()
    if reason:
        console.print(f"[red]{reason}[/]: pip install '.[bench]'")
        return 2
    _restrict_cores(args.threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells' background jobs ignore it
    available = _peers(args.against, console)
    level, names = _chosen(args.suite)
    options = Options(level, tuple(args.op), tuple(args.dtype), tuple(args.size))
    todo = tasks([(all_suites()[n], all_suites()[n].cases(options)) for n in names], available)
    is_quick = args.suite == ["quick"] and args.time is None
    if is_quick:
        todo, plan = spread(todo), quick_plan(len(todo))
    else:
        plan = quickened(Plan(), args.time or 1.0)
    peers = [peer for peer in available if any(peer is task[2] for task in todo)]
    _announce(todo, peers, plan, is_quick, console)
    for peer in [ours, *peers]:
        if not console.is_terminal:
            console.print(f"starting {peer.name}")
        with console.status(f"starting {peer.name}"), _quiet():
            peer.start(args.threads)
    path = args.out / store.FILE_NAME
    results = new_results(sys.argv[1:], ours, peers, args.threads, plan)
    if args.resume and path.exists():
        earlier = store.load(path)
        _same_conditions(earlier, results)
        results = earlier

    deadline = started + QUICK_S if is_quick else None
    limit_s = None if deadline is None else deadline - time.perf_counter()
    with progress(console, len(todo), limit_s) as advance:

        def report(task: Task, record: store.Record | None) -> None:
            _, case, peer = task
            advance(f"{case.suite} {case.name}")
            if record is not None and record.status not in ("ok", "unsupported"):
                against = f" against {peer.name}" if peer else ""
                console.print(f"[red]{case.name}{against}: {record.status}[/] {record.note}")

        finished = run(todo, results, path, ours, args.threads, plan, report, deadline)

    if finished and threads.SUITE in names:
        chosen = ["--against", *(p.name for p in available), "--time", str(args.time or 1.0)]
        finished = threads.measure(results, path, chosen, console)

    if not args.plain:
        _show(results, args.out, console)
    if not finished:
        console.print("[yellow]interrupted[/]; the same command with --resume goes on from here")
        return 130
    return int(any(r.status not in ("ok", "unsupported") for r in results.records))


def _announce(
    todo: Sequence[Task], peers: Sequence[Peer], plan: Plan, is_quick: bool, console: Console
) -> None:
    """What is about to be done, and how long it takes."""
    suites = len({task[0].name for task in todo})
    against = ", ".join(peer.name for peer in peers) or "no peer"
    about = f"about {show_span(expected_s(plan, len(todo)))} on a quiet machine"
    console.print(
        f"{show_count(len(todo), 'case')} of {show_count(suites, 'suite')} against {against}: "
        f"{'less than 5 minutes' if is_quick else about}. "
        "Ctrl-C keeps what is finished; --resume goes on from there.",
        highlight=False,
    )


def _show(results: store.Results, folder: Path, console: Console) -> bool:
    """Tables, summary and report of a run; returns False if a target is not met, or not judged."""
    from bench.show import report, table

    table.print_warning(console, results)
    table.print_cases(console, results)
    table.print_summary(console, results)
    good = table.print_targets(console, results)
    table.print_warning(console, results)  # the beginning has left the screen by now
    page = folder / "report.html"
    report.write(results, page)
    console.print(f"raw samples: {folder / store.FILE_NAME}\nreport: {page}")
    return good


def _same_conditions(earlier: store.Results, now: store.Results) -> None:
    """A resumed run must measure the same builds on the same machine with the same settings."""
    for what, a, b in (
        ("machine", earlier.environment["cpu"], now.environment["cpu"]),
        ("slotwise build", earlier.environment["slotwise"], now.environment["slotwise"]),
        ("settings", earlier.settings["threads"], now.settings["threads"]),
    ):
        if a != b:
            raise SystemExit(
                f"--resume: the {what} differs from the earlier run's; start a new one"
            )


def _tool(name: str, argv: Sequence[str], console: Console) -> int:
    args = _tool_parsers()[name].parse_args(argv)
    if name == "show":
        results = store.joined([store.load(path) for path in args.path])
        folder = args.path[0] if args.path[0].is_dir() else args.path[0].parent
        others = [store.load(path) for path in args.beside]
        for page in args.write:
            from bench.show import report

            report.write_parts([results, *others], page)
        return 0 if _show(results, folder, console) else 1
    if name == "compare":
        from bench.tools import compare

        return compare.show(console, store.load(args.old), store.load(args.new))
    if name == "deferred":
        from bench.tools.deferred import deferred

        return deferred(console, args.threads, args.rows, args.repeats)
    if name == "background":
        from bench.tools.background import background

        return background(console, args.threads, args.size, args.repeats, args.network)
    from bench.tools.guard import guard

    return guard(args.reference, args.threads, args.limit, args.count, args.out, console)


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    console = Console() if sys.stdout.isatty() else Console(width=130)
    if given and given[0] in _tool_parsers():
        return _tool(given[0], given[1:], console)
    args = parser().parse_args(given)
    if args.install_peers:
        from bench.tools.install import install

        names = args.against or list(all_peers())
        return install([all_peers()[n] for n in names], args.environment, console)
    return measure(args, console)
