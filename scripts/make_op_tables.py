# SPDX-License-Identifier: Apache-2.0
"""Write the tables in the docs and the benchmark that follow from ops and optimizers."""

import inspect
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import slotwise
from slotwise import _core, raw_ops

ROOT = Path(__file__).parents[1]
STAR = r"\*"


def files() -> dict[Path, str]:
    """The files with their tables made anew."""
    ops, keras, bench = (
        ROOT / path for path in ("docs/raw_ops.md", "docs/keras.md", "bench/work/ops.py")
    )
    return {
        ops: _replaced(ops, "<!-- {} -->", tables=tables(), ranges=ranges()),
        keras: _replaced(keras, "<!-- {} -->", sparse=sparse_gradients()),
        bench: _replaced(bench, "# {}", signatures=signatures()),
    }


def _replaced(file: Path, comment: str, **texts: str) -> str:
    """The file with other texts between the comments "name: begin" and "name: end"."""
    text = file.read_text()
    for name, new in texts.items():
        begin, end = (comment.format(f"{name}: {which}") + "\n" for which in ("begin", "end"))
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"{file}: expected lines {begin!r} and {end!r}"
        text = before + begin + new + end + after
    return text


def signatures() -> str:
    """The ops that peers have, and the one on rows alone: inputs, those updated with a star."""
    ops = [(f"Apply{rule['name']}", rule) for rule in _core.RULES if _is_tensorflows(rule)]
    ops += [(f"SparseApply{rule['name']}", rule) for rule in _core.RULES if not rule["has_dense"]]
    lines = []
    for op, rule in ops:
        inputs = [name for name in _inputs(op, rule, "*") if name != "indices"]
        lines.append(f"{op} {' '.join(inputs)}\n")
    return f'_SIGNATURES = """\n{"".join(lines)}"""\n'


def tables() -> str:
    dense = [rule for rule in _core.RULES if rule["has_dense"]]
    ours = [rule for rule in dense if not _is_tensorflows(rule)]
    theirs = [rule for rule in dense if _is_tensorflows(rule)]
    others = [rule for rule in _core.RULES if not rule["has_dense"]]
    parts = [
        "TensorFlow's ops:\n",
        *_table(theirs, "Apply"),
        "\nOps that TensorFlow does not have (defined by Keras, PyTorch, papers or optax):\n",
        *_table(ours, "Apply"),
        "\nA sparse op takes the arguments of the dense one. Its gradient is called `grad`, "
        "followed by `indices`:\n",
        *_sparse([*theirs, *ours], others),
        "\nThe scatter ops change rows of any numeric dtype; `ScatterUpdate` sets them:\n",
        *_scatter(),
    ]
    return "\n" + "\n".join(parts) + "\n\n"


def _is_tensorflows(rule: dict[str, Any]) -> bool:
    return f"ResourceApply{rule['name']}" in raw_ops.__all__


def _table(rules: list[dict[str, Any]], prefix: str) -> list[str]:
    rows = ["| op | arguments | options |", "|---|---|---|"]
    for rule in sorted(rules, key=lambda rule: rule["name"]):
        op = prefix + rule["name"]
        parameters = inspect.signature(getattr(raw_ops, op)).parameters.values()
        options = [f"{p.name}={p.default}" for p in parameters if p.name in rule["attrs"]]
        cells = f"{', '.join(_inputs(op, rule, STAR))} | {', '.join(options)}".strip()
        rows.append(f"| `{op}` | {cells} |")
    return rows


def _inputs(op: str, rule: dict[str, Any], star: str) -> list[str]:
    """Arguments without a default; a star after those that are updated."""
    parameters = inspect.signature(getattr(raw_ops, op)).parameters.values()
    updated = ("var", *rule["slots"])
    names = [p.name for p in parameters if p.default is p.empty]
    return [name + (star if name in updated else "") for name in names]


def _sparse(rules: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[str]:
    names = [f"`SparseApply{rule['name']}`" for rule in rules if rule["has_sparse"]]
    without = [f"`Apply{rule['name']}`" for rule in rules if not rule["has_sparse"]]
    return [
        ", ".join(sorted(names)) + ".",
        f"\n{', '.join(sorted(without))} measure the whole of `var` before they change any of "
        "it, so they have no sparse op. One rule has only a sparse op:\n",
        *_table(others, "SparseApply"),
    ]


def _scatter() -> list[str]:
    names = [f"`{n}`" for n in raw_ops.__all__ if n.startswith("Scatter")]
    return [f"{', '.join(names)}: ref{STAR}, indices, updates."]


def ranges() -> str:
    """Which ops expect more of a hyperparameter than a number."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in _core.RULES:
        for prefix, own in _ranges_of(rule):
            for argument, expected in own.items():
                found.setdefault((argument, expected), []).append(f"`{prefix}{rule['name']}`")
    rows = ["| argument | must be | in |", "|---|---|---|"]
    for (argument, expected), ops in sorted(found.items()):
        rows.append(f"| `{argument}` | {expected} | {', '.join(ops)} |")
    return "\n" + "\n".join(rows) + "\n\n"


def _ranges_of(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Of the dense op, and of the sparse one where it expects something else."""
    dense = rule["ranges"] if rule["has_dense"] else {}
    if rule["has_dense"]:
        yield "Apply", dense
    if rule["has_sparse"]:
        yield "SparseApply", dict(rule["sparse_ranges"].items() - dense.items())


def sparse_gradients() -> str:
    """What a sparse gradient changes: `support_matrix`, without the lazy mode."""
    found: dict[tuple[str, ...], list[str]] = {}
    matrix = [row for row in slotwise.support_matrix() if row["sparse"] == "keras"]
    for (api, name), group in groupby(matrix, itemgetter("api", "optimizer")):
        changes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in group:
            changes.setdefault((api, row["variable"], row["slots"]), []).append(row["options"])
        for key, variants in changes.items():  # with the options that it goes by, if it does
            options = variants if len(changes) > 1 else [{}]
            words = [", ".join(f"{k}={v}" for k, v in each.items()) for each in options]
            found.setdefault(key, []).extend(f"{name} ({w})" if w else name for w in words)
    rows = ["| API | optimizers | variable | slots |", "|---|---|---|---|"]
    for (api, variable, slots), names in sorted(found.items(), reverse=True):
        rows.append(f"| {api} | {', '.join(names)} | {variable} | {slots} |")
    return "\n" + "\n".join(rows) + "\n\n"


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text)
