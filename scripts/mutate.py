# SPDX-License-Identifier: Apache-2.0
"""Makes small wrong changes, one at a time, and asserts that the suite notices each.

    python scripts/mutate.py [--list] [--only python|c++] [WORD ...]

With words, those mutations whose description has them all; with --list, only where they would be.
Everything is done in a copy of the tree in build/mutate: tracked files and new ones, as they are.
Mutations of Python run with the extension that is installed, those of C++ with one that is built
there, of which each rebuilds one unit.

A mutation whose text is not in the tree exactly once is an error, and so is a suite that fails
before anything is changed. The exit status is 1 if a mutation survives.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "build" / "mutate"
TREE, BUILD, VENV = HOME / "tree", HOME / "cmake", HOME / "venv"
SOURCES = ("python/slotwise", "csrc")
SECONDS = 900  # for one suite; one that takes longer hangs

OPS, ROWS, OPTIMIZERS, STATE = "tests/ops", "tests/rows", "tests/optimizers", "tests/state"
RANKS, DEFERRED = "tests/distributed", "tests/deferred"


@dataclass(frozen=True)
class Mutation:
    """A text that is in the tree once, what takes its place, and the tests that are to notice."""

    why: str
    text: str
    wrong: str
    tests: str  # arguments of pytest

    def place(self) -> Path:
        """The one file that has the text.

        Raises:
            LookupError: there are several or none, or it has the text twice.
        """
        found = [path for path, text in sources().items() for _ in range(text.count(self.text))]
        if len(found) != 1:
            names = ", ".join(map(str, found)) or "no file"
            raise LookupError(f"{self.why}: expected its text once in the tree, found in {names}")
        return found[0]


@cache
def sources() -> dict[Path, str]:
    """The texts of what is compiled or imported."""
    files = sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*"))
    kinds = (".py", ".cc", ".h")
    return {path.relative_to(ROOT): path.read_text() for path in files if path.suffix in kinds}


# ----- in Python ---------------------------------------------------------------------------------

PYTHON = (
    # saves in the background
    Mutation(
        "half of an assignment is saved",
        "        if any(True for _ in under_way.sharing(memory_of(array))):\n",
        "        if False:\n",
        f"{STATE}/test_background.py",
    ),
    Mutation(
        "memory that others share is given up",
        "if is_whole and len([*known.sharing(memory_of(array))]) == 1:",
        "if is_whole:",
        f"{STATE}/test_background.py",
    ),
    Mutation(
        "rows of a save that fails are in no delta",
        "            if self._failure is not None:\n                undo()\n",
        "",
        f"{STATE}/test_background.py",
    ),
    Mutation(
        "the writer ends what threads of the program own",
        "    kept = _core.owned_by_threads()  # by the child, to its end\n",
        "    kept: list[Any] = []\n",
        f"{STATE}/test_background.py",
    ),
    Mutation(
        "a private map of a file counts as copied",
        'kinds[3:4] == b"p" and file_number == b"0"',
        'kinds[3:4] == b"p"',
        f"{STATE}/test_background.py",
    ),
    # what is put off
    Mutation(
        "all rows count as touched where few were named",
        "only_rows=self.is_put_off or not is_whole",
        "only_rows=not is_whole",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "steps are lost with their optimizer",
        "    end = weakref.finalize(optimizer, flush, core)\n",
        "    end = weakref.finalize(optimizer, id, core)\n",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "another variable of the memory goes on showing it",
        "                given._deferred = own\n",
        "                pass\n",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "an optimizer that has met rows saves them as they lie",
        "        if core is None or entry.memory not in arrays:\n",
        "        core = core or getattr(deferred_of(entry.variable), 'core', None)\n"
        "        if core is None or entry.memory not in arrays:\n",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "rows that catch up in a step are in no delta",
        "        if call[0].flushes != before:",
        "        if call[0].flushes < before:",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "rows are loaded without the steps that they have missed",
        "            content.require_whole(found.fitting)\n",
        "",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "rows that are behind are returned as they lie",
        '        refuse_behind("load_array", layers[-1].path, rows_behind(layers[-1]), name)\n',
        "",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "what is loaded lies over rows that catch up later",
        "            _stateful.bring_to_now(group, names or {})\n",
        "",
        f"{DEFERRED}/test_state.py",
    ),
    # numbers of a step
    Mutation(
        "the first step is number 0",
        "rate, self.steps + 1, part)",
        "rate, self.steps, part)",
        f"{OPTIMIZERS}/test_keras_golden.py",
    ),
    Mutation(
        "a hyperparameter does not go through float32",
        "return kind(number if is_double else np.float32(number))",
        "return kind(number)",
        f"{OPTIMIZERS}/test_keras_golden.py",
    ),
    Mutation(
        "Adam's adaptive epsilon goes by the other beta",
        'x.type(values["epsilon"]) * np.sqrt(1 - values["beta2_power"])',
        'x.type(values["epsilon"]) * np.sqrt(1 - values["beta1_power"])',
        OPTIMIZERS,
    ),
    Mutation(
        "Nadam's next momentum is that of this step",
        '"momentum_next": beta_1(x, x.step + 1)',
        '"momentum_next": beta_1(x, x.step)',
        f"{OPTIMIZERS}/test_keras_golden.py",
    ),
    Mutation(
        "AdamW decays ten times as fast by default",
        'Parameter("weight_decay", 0.004, OPTIONAL_NUMBER)',
        'Parameter("weight_decay", 0.04, OPTIONAL_NUMBER)',
        OPTIMIZERS,
    ),
    Mutation(
        "RMSprop's epsilon is outside of the root",
        'update=_update("whole", epsilon_in_root=True)',
        'update=_update("whole", epsilon_in_root=False)',
        f"{OPTIMIZERS}/test_keras_golden.py",
    ),
    Mutation(
        "a sparse gradient of Adamax changes whole variables in the legacy API, too",
        'update=_update("rows"),\n    coefficients=_coefficients,\n    config=("learning_rate", '
        '"decay", "beta_1", "beta_2", "epsilon"),\n)\nCURRENT = replace(\n    LEGACY,\n    '
        "parameters=(LEARNING_RATE, *map(exact",
        'update=_update("whole"),\n    coefficients=_coefficients,\n    config=("learning_rate", '
        '"decay", "beta_1", "beta_2", "epsilon"),\n)\nCURRENT = replace(\n    LEGACY,\n    '
        "parameters=(LEARNING_RATE, *map(exact",
        f"{OPTIMIZERS}/test_keras_golden.py",
    ),
    Mutation(
        "Adamax makes its slots in another order",
        'interleaved=("m", "largest"),',
        'interleaved=("m",),',
        f"{OPTIMIZERS} {STATE}",
    ),
    # schedules
    Mutation(
        "a staircase is rounded, not rounded down",
        "np.floor(periods) if self.staircase",
        "np.round(periods) if self.staircase",
        OPTIMIZERS,
    ),
    Mutation(
        "a polynomial goes on below its end",
        "at = min(at, steps)\n        return (initial - end)",
        "return (initial - end)",
        OPTIMIZERS,
    ),
    Mutation(
        "a boundary of a piecewise rate is one step early",
        "self.values[sum(boundary < at for boundary in self.boundaries)]",
        "self.values[sum(boundary <= at for boundary in self.boundaries)]",
        OPTIMIZERS,
    ),
    # what is around a step
    Mutation(
        "averages are written into variables one step late",
        "(self._step_count() + 1) % frequency == 0",
        "self._step_count() % frequency == 0",
        OPTIMIZERS,
    ),
    Mutation(
        "the scale of the loss grows one step late",
        "elif counter >= self._growth_steps:",
        "elif counter > self._growth_steps:",
        f"{OPTIMIZERS}/test_loss_scale.py",
    ),
    Mutation(
        "the scale of the loss falls below 1",
        "self._scale.assign(max(scale / _MULTIPLIER, np.float32(1)))",
        "self._scale.assign(scale / _MULTIPLIER)",
        f"{OPTIMIZERS}/test_loss_scale.py",
    ),
    Mutation(
        "accumulated gradients are applied one call early",
        "(int(self._iterations.value) + 1) % steps == 0",
        "(int(self._iterations.value) + 2) % steps == 0",
        f"{OPTIMIZERS}/test_keras3.py",
    ),
    Mutation(
        "a variable may be given twice while gradients are accumulated",
        "        self._refuse_repeated(entries)\n",
        "",
        f"{OPTIMIZERS}/test_keras3.py",
    ),
    Mutation(
        "touched rows below 0 count from the end",
        "ids[(ids >= 0) & (ids < self._touched.size)]",
        "ids[ids < self._touched.size]",
        f"{STATE}/test_deltas.py",
    ),
    # checkpoints
    Mutation(
        "a file is not on the disk before it takes its place",
        "    handle = os.open(path, os.O_RDONLY)\n    try:\n        os.fsync(handle)\n",
        "    handle = os.open(path, os.O_RDONLY)\n    try:\n        pass\n",
        f"{STATE}/test_durable.py",
    ),
    Mutation(
        "what is written is not on the disk before the index is",
        "_write_at(handle, memoryview(_format.encode(self._header())), 0)\n"
        "            os.fsync(handle)\n",
        "_write_at(handle, memoryview(_format.encode(self._header())), 0)\n",
        f"{STATE}/test_durable.py",
    ),
    Mutation(
        "the new name is not on the disk when save returns",
        "            sync(path.parent)\n        finally:",
        "            pass\n        finally:",
        f"{STATE}/test_durable.py",
    ),
    Mutation(
        "what a living process writes is taken for a leftover",
        "        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "",
        f"{STATE}/test_leftovers.py {STATE}/test_manager.py",
    ),
    Mutation(
        "no lock is held while a checkpoint is written",
        "        with held(locks):\n            touched, is_done",
        "        if True:\n            touched, is_done",
        f"{STATE}/test_moment.py",
    ),
    Mutation(
        "what changes while it is saved is not noticed",
        "            if _checksums.checksum(data) != self._sums[chunk.name][chunk.number]:",
        "            if False:",
        f"{STATE}/test_moment.py",
    ),
    Mutation(
        "a tensor's last chunk has no checksum of its own",
        "found != tensor.checksums[chunk]:",
        "found != tensor.checksums[min(chunk, len(tensor.checksums) - 2)]:",
        f"{STATE}/test_damage.py {STATE}/test_format.py",
    ),
    Mutation(
        "rows that are read end one byte early",
        "else (first * row, last * row)",
        "else (first * row, last * row - 1)",
        f"{STATE}/test_format.py",
    ),
    Mutation(
        "a load takes what does not fit",
        "            if strict and found.report:\n",
        "            if False:\n",
        STATE,
    ),
    Mutation(
        "a manager keeps one checkpoint more",
        "others[: max(0, len(others) + 1 - self.max_to_keep)]",
        "others[: max(0, len(others) - self.max_to_keep)]",
        f"{STATE}/test_manager.py",
    ),
    Mutation(
        "checkpoints of a manager are not numbered on",
        "int(max(numbers, default=0)) + 1\n",
        "1\n",
        f"{STATE}/test_manager.py",
    ),
    # steps of ranks
    Mutation(
        "ranks go on though one has an error",
        "    if received[:, 0].any():\n",
        "    if False:\n",
        f"{RANKS}/test_steps.py",
    ),
    Mutation(
        "ranks go on though they call different things",
        "    if (received[:, 1:_HEAD] != received[0, 1:_HEAD]).any():\n",
        "    if False:\n",
        f"{RANKS}/test_steps.py",
    ),
    Mutation(
        "shares of variables that others have updated do not come back",
        "            _dense.refresh(comm, [item.chunk",
        "            _dense.refresh(comm, [] and [item.chunk",
        f"{RANKS}/test_steps.py",
    ),
    Mutation(
        "what is sent to a rank is said to be for the next",
        "        return counts, np.repeat(self.places, times), rows\n",
        "        return np.roll(counts, 1), np.repeat(self.places, times), rows\n",
        f"{RANKS}/test_steps.py",
    ),
    Mutation(
        "a call does not wait for what is done ahead",
        "        self.settle(call)\n        with",
        "        with",
        f"{RANKS}/test_prefetch.py",
    ),
    Mutation(
        "gradients that are to be rounded travel as they are",
        "rows if wire is None else rounded(rows)\n",
        "rows\n",
        f"{RANKS}/test_steps.py",
    ),
    # checkpoints of ranks
    Mutation(
        "parts of a tensor may overlap, or leave a gap",
        "or first != at or count <= 0:",
        "or count <= 0:",
        f"{RANKS}/test_checkpoints_forged.py",
    ),
    Mutation(
        "parts need not be those that files have",
        "if (tensor.dtype, tensor.shape) != (parts.dtype, (count, *parts.unit_shape)):",
        "if False:",
        f"{RANKS}/test_checkpoints_forged.py",
    ),
    Mutation(
        "what is whole may differ between ranks",
        "if a != b and repr(a) != repr(b):",
        "if False:",
        f"{RANKS}/test_checkpoints.py",
    ),
    Mutation(
        "a rank does not say that it has failed",
        "                self._swap(None, _FAILED)\n",
        "                self._swap(None, _IS_DONE)\n",
        f"{RANKS}/test_checkpoints_faults.py",
    ),
    Mutation(
        "what a rank sent is not compared with its memory",
        "            if _sum_of(self._own(chunk)) != self._sums[chunk]:",
        "            if False:",
        f"{RANKS}/test_checkpoints_faults.py",
    ),
)

# ----- in C++ ------------------------------------------------------------------------------------

CXX = (
    # what is put off
    Mutation(
        "what fades is multiplied by a rounded factor",
        "  if (kept > 0.5) return {1, 1 - kept};\n",
        "",
        f"{DEFERRED}/test_accuracy.py",
    ),
    Mutation(
        "a row stands at the step before",
        "memory_.last[row] = clock_.now() + 1;",
        "memory_.last[row] = clock_.now();",
        f"{DEFERRED}/test_reading.py",
    ),
    Mutation(
        "slots that have overflowed become NaN where they stay",
        "return is_sum ? lessened",
        "return true ? lessened",
        f"{DEFERRED}/test_reading.py",
    ),
    Mutation(
        "var is shown finite beside slots that have become NaN",
        "        if (by.sums[by.other]) spoilt = denominator - denominator;\n",
        "",
        f"{DEFERRED}/test_reading.py",
    ),
    Mutation(
        "momentum that fades as fast as the root stays",
        "motion.ratio == 1 && movement_.base == Base::kSlot",
        "motion.ratio == 1",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "a row may stand at a step that was never taken",
        "return s >= 0 && s <= now;",
        "return s <= now;",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "a clock that was loaded has forgotten its tables",
        "record.Numbers(&of_var_, of_steps * terms_);",
        "if (!record.is_read()) record.Numbers(&of_var_, of_steps * terms_);",
        f"{DEFERRED}/test_state.py",
    ),
    Mutation(
        "rows do not catch up before slots fade otherwise",
        "  if (table.clock().EndsAt(item.motion, item.around)) table.Flush(nullptr);\n",
        "",
        f"{DEFERRED}/test_reading.py",
    ),
    Mutation(
        "Adam corrects its means by each other's power",
        "std::sqrt(beta2_power.one_minus());\n"
        "  return {ScalarQuotient(factor * root, beta1_power.one_minus())",
        "std::sqrt(beta1_power.one_minus());\n"
        "  return {ScalarQuotient(factor * root, beta2_power.one_minus())",
        f"{OPS}/test_golden.py",
    ),
    Mutation(
        "amsgrad forgets its largest mean",
        "vhat = FirstMax(vhat, v);",
        "vhat = v;",
        f"{OPS}/test_golden.py",
    ),
    Mutation(
        "Nadam's momentum is not corrected by the next product",
        "ScalarQuotient<T>(next, 1 - product * next)",
        "ScalarQuotient<T>(next, 1 - product)",
        f"{OPS}/test_dense.py",
    ),
    Mutation(
        "Lion's step goes by the beta of its mean",
        "Sign(m * c.beta1 + g * c.one_minus_beta1)",
        "Sign(m * c.beta2 + g * c.one_minus_beta2)",
        f"{OPS}/test_dense.py",
    ),
    Mutation(
        "Nesterov's step has another sign",
        "(c.use_nesterov ? accum * c.momentum - g * c.lr : accum)",
        "(c.use_nesterov ? accum * c.momentum + g * c.lr : accum)",
        f"{OPS}/test_golden.py",
    ),
    Mutation(
        "Ftrl's bound is not scaled with its rate",
        "bound(by_lr ? l1 * lr : l1),",
        "bound(l1),",
        f"{OPS}/test_golden.py",
    ),
    Mutation(
        "ids of the last chunk are lost",
        "return chunk + 1 < parts_ ? ChunkBegin(chunk + 1) : count_;",
        "return ChunkBegin(chunk + 1);",
        f"{ROWS}/test_row_plan.py",
    ),
    Mutation(
        "the number of rows is an id itself",
        "given_[i] = id < num_rows_ ? static_cast<Row>(id) : kOutside;",
        "given_[i] = id <= num_rows_ ? static_cast<Row>(id) : kOutside;",
        f"{ROWS}/test_sparse_errors.py",
    ),
    Mutation(
        "slots may share memory with one another",
        "    for (size_t j = 0; j < i; ++j) slot.RequireApartFrom(*slots_[j]);\n",
        "",
        f"{OPS}/test_errors.py",
    ),
    Mutation(
        "a lock on memory never waits",
        "return range.first < end_ && begin_ < range.second;",
        "return false && range.first < end_ && begin_ < range.second;",
        "tests/library/test_threads.py",
    ),
    Mutation(
        "a gradient that the step writes is not copied",
        "if (!is_var && IsWritten(item.grad)) item.grad.Copy();",
        "",
        f"{OPTIMIZERS}/test_update_plan.py {OPTIMIZERS}/test_atomic.py",
    ),
    Mutation(
        "clipping by the global norm goes by the last gradient's alone",
        "for (const double part : measure()) sum += part;",
        "for (const double part : measure()) sum = part;",
        f"{OPTIMIZERS}/test_update_plan.py",
    ),
    Mutation(
        "a limit that is out of range is taken",
        "return value > 0 || (value == 0 && is_scaled);",
        "return value >= 0 || (value == 0 && is_scaled);",
        f"{ROWS}/test_sparse_errors.py",
    ),
    Mutation(
        "rows that are sent are the rounded sum alone",
        "if (rest != 0) most = std::max(most, t + 1);",
        "",
        f"{RANKS}/test_exact_terms.py",
    ),
    Mutation(
        "gradients of bags are sent without their weights",
        "      if (pooled == nullptr) {\n        std::memcpy(to, row(*position), bytes);",
        "      if (true) {\n        std::memcpy(to, row(*position), bytes);",
        f"{RANKS}/test_exact_terms.py",
    ),
    Mutation(
        "offsets that begin as those of one id each are taken for such",
        "if (differs) count_up = false;",
        "",
        "tests/tables/test_bags.py",
    ),
    Mutation(
        "an assignment after a step is not made",
        "std::fill_n(static_cast<int64_t*>(data), count, assignment.integer);",
        "",
        f"{OPTIMIZERS}/test_atomic.py",
    ),
)


# ----- the copy ----------------------------------------------------------------------------------


def copy_tree() -> None:
    """Make the copy what the tree is; files that did not change keep their time, for ninja."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    names = {name.decode() for name in listed.stdout.split(b"\0") if name}
    names = {name for name in names if (ROOT / name).is_file()}
    for path in TREE.rglob("*"):
        if path.is_file() and str(path.relative_to(TREE)) not in names:
            path.unlink()
    for name in names:
        write(TREE / name, (ROOT / name).read_bytes())


def write(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def use_extension(found: Path) -> None:
    shutil.copy2(found, TREE / "python" / "slotwise" / found.name)


def installed() -> Path:
    spec = importlib.util.find_spec("slotwise._core")
    if spec is None or spec.origin is None:
        sys.exit("mutate: the extension is not installed: run it by `make mutate`")
    return Path(spec.origin)


def build() -> Path:
    """The extension that the copy makes.

    Raises:
        CalledProcessError: it does not compile.
    """
    if not (VENV / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        command = [sys.executable, str(ROOT / "scripts" / "requirements.py"), "build"]
        needed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "install", *needed, "cmake", "ninja"], check=True)
        (VENV / "made").touch()
    environment = {**os.environ, "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    if not (BUILD / "build.ninja").exists():
        command = [str(VENV / "bin" / "python"), "-m", "pybind11", "--cmakedir"]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        options = [
            *("-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DSKBUILD_PROJECT_VERSION=0"),
            "-DCMAKE_CXX_FLAGS_RELEASE=-O1",  # the same bits, sooner
            "-DSLOTWISE_LEAVE_OUT=HWY_AVX3;HWY_SSE4",
            f"-DPython_EXECUTABLE={VENV / 'bin' / 'python'}",
            f"-Dpybind11_DIR={found}",
        ]
        command = ["cmake", "-S", str(TREE), "-B", str(BUILD), *options]
        subprocess.run(command, check=True, env=environment)
    subprocess.run(["ninja", "-C", BUILD], check=True, env=environment)
    return next(BUILD.glob("_core*.so"))


# ----- the suites --------------------------------------------------------------------------------


def passes(tests: str) -> tuple[bool, str]:
    """Whether tests pass in the copy, and what pytest said at the end.

    Raises:
        RuntimeError: they could not be run.
    """
    environment = {**os.environ, "PYTHONPATH": str(TREE / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=TREE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False, f"it took longer than {SECONDS} s"
    lines = done.stdout.strip().splitlines() or [""]
    if done.returncode < 0:
        return False, f"the tests were ended by signal {-done.returncode}"  # memory went wrong
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest {tests} ended with {done.returncode}\n{done.stdout[-3000:]}")
    noted = [line for line in lines if line.startswith(("FAILED", "SUBFAILED"))]
    return done.returncode == 0, (noted or lines)[-1]


@dataclass
class Result:
    mutation: Mutation
    place: Path
    survived: bool
    said: str
    seconds: float


def try_out(mutation: Mutation, place: Path, compiled: bool) -> Result:
    path, began = TREE / place, time.monotonic()
    right = path.read_bytes()
    write(path, right.replace(mutation.text.encode(), mutation.wrong.encode()))
    try:
        if compiled:
            use_extension(build())
        survived, said = passes(mutation.tests)
    finally:
        write(path, right)
    return Result(mutation, place, survived, said, time.monotonic() - began)


def run(mutations: Iterable[Mutation], compiled: bool) -> list[Result]:
    placed = [(mutation, mutation.place()) for mutation in mutations]
    if not placed:
        return []
    placed.sort(key=lambda each: each[1])  # a unit is built right again with the next one
    use_extension(build() if compiled else installed())
    for tests in dict.fromkeys(mutation.tests for mutation, _ in placed):
        good, said = passes(tests)
        if not good:
            sys.exit(f"mutate: pytest {tests} fails before anything is changed: {said}")
    results = []
    for mutation, place in placed:
        result = try_out(mutation, place, compiled)
        verdict = "SURVIVED" if result.survived else "noticed "
        print(f"{verdict} {result.seconds:5.0f} s  {place}: {mutation.why}", flush=True)
        print(f"{'':18}{result.said[:150]}", flush=True)
        results.append(result)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", help="of the descriptions of mutations")
    parser.add_argument("--only", choices=("python", "c++"))
    parser.add_argument("--list", action="store_true", help="where each would be; run nothing")
    given = parser.parse_args()

    def chosen(mutations: tuple[Mutation, ...], kind: str) -> list[Mutation]:
        here = mutations if given.only in (None, kind) else ()
        return [each for each in here if all(word in each.why for word in given.words)]

    python, cxx = chosen(PYTHON, "python"), chosen(CXX, "c++")
    for mutation in (*python, *cxx):
        place = mutation.place()
        if given.list:
            print(f"{place}: {mutation.why}")
    if given.list:
        return 0
    copy_tree()
    results = run(python, compiled=False) + run(cxx, compiled=True)
    survivors = [result for result in results if result.survived]
    print(f"{len(results)} mutations, {len(results) - len(survivors)} noticed")
    for result in survivors:
        print(f"survived: {result.place}: {result.mutation.why}")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
