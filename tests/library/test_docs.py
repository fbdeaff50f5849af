# SPDX-License-Identifier: Apache-2.0
"""Docstrings, signatures and the stub say what the extension really does."""

import doctest
import importlib
import importlib.util
import inspect
import pickle
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import slotwise
from slotwise import _core, optimizers, raw_ops
from slotwise.raw_ops import _table
from support.pages import COMING_FROM, FLAGS, blocks_of, pairs_of, require, run_page
from support.scripts import script

HAS_TORCH = importlib.util.find_spec("torch") is not None
MODULES = [slotwise] + [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(slotwise.__path__, "slotwise.")
    if found.name != "slotwise._core" and (HAS_TORCH or "slotwise.torch" not in found.name)
]
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FOR_DEVELOPERS = [
    ROOT / name for name in ("HACKING.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")
]
BAGS = ("offsets", "weights", "mode", "include_last_offset")
ROW_OPTIONS = ("duplicates", "bounds", *BAGS)
COMMON = ("use_locking", *ROW_OPTIONS, "name")  # of all ops, or all sparse ones
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def public_functions() -> list[Any]:
    found = []
    for module in (slotwise, raw_ops, optimizers, optimizers.schedules, slotwise.interop):
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                found.append(pytest.param(getattr(module, name), id=f"{module.__name__}.{name}"))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_run(module: Any) -> None:
    failed, _ = doctest.testmod(module, optionflags=FLAGS)
    assert failed == 0


@by_page
def test_pages_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """Every block of Python, except for those that another target runs (`support/pages.py`)."""
    if page.name == "torch.md":
        require(*blocks_of(page))
    monkeypatch.chdir(tmp_path)
    run_page(page, subtests)


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.name)
def test_those_who_come_see_before_and_after(page: Path) -> None:
    assert [*pairs_of(page)], "no runnable pair"
    for heading in ("theirs | ours", "## What differs"):
        assert heading in page.read_text(), heading


@by_page
def test_pages_have_no_merge_markers(page: Any) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", [*PAGES, *FOR_DEVELOPERS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Any) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
    for target, heading in re.findall(r"\]\(([^):]*)#([^)]*)\)", text):
        assert heading in headings(page.parent / target if target else page), heading


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_index_lists_every_page() -> None:
    index = (DOCS / "index.md").read_text()
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page.name != "index.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_figures_of_the_readme_are_those_of_the_benchmark() -> None:
    measured = (ROOT / "docs" / "performance.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert re.findall(r"\b\d[\d.]*x\b", readme)
    for ratio in re.findall(r"\b\d[\d.]*x\b", readme):
        assert re.search(rf"(?<![\d.]){re.escape(ratio)}", measured), ratio
    assert "<!-- bench:short -->\n|" in readme  # the table that `bench show --write` fills


def test_the_citation_is_of_this_version() -> None:
    versions = [
        re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE)
        for name, pattern in (
            ("CITATION.cff", r"^version: (.+)$"),
            ("pyproject.toml", r'^version = "(.+)"$'),
        )
    ]
    assert versions == [[slotwise.__version__]] * 2


def test_every_op_is_on_a_page() -> None:
    text = (ROOT / "docs" / "raw_ops.md").read_text()
    names = [n.removeprefix("Resource") for n in raw_ops.__all__]
    assert [n for n in names if f"`{n}`" not in text] == []


@pytest.mark.parametrize("function", public_functions())
def test_public_functions_are_documented(function: Any) -> None:
    assert function.__doc__ is not None
    assert ">>> " in function.__doc__, "no example"
    if "Args:" in function.__doc__:
        documented = function.__doc__.split("Args:")[1]
        for name in inspect.signature(function).parameters:
            assert name in documented


@pytest.mark.parametrize("rule", _core.RULES, ids=lambda rule: rule["name"])
def test_signatures_follow_the_registry(rule: Any) -> None:
    common = {"var", *rule["slots"], *rule["hypers"], *rule["attrs"], "use_locking", "name"}
    expected = {}
    if rule["has_sparse"]:
        expected["SparseApply"] = {*common, "grad", "indices", *ROW_OPTIONS}
    if rule["has_dense"]:
        expected["Apply"] = {*common, rule["grad"]}
    for prefix, names in expected.items():
        op = prefix + rule["name"]
        assert set(inspect.signature(getattr(raw_ops, op)).parameters) == names
        assert op in raw_ops.__all__


@pytest.mark.parametrize("module", [raw_ops.dense, raw_ops.scatter, raw_ops.sparse])
def test_made_functions_are_like_written_ones(module: Any) -> None:
    """Found by name, by pickle, by doctest and by debuggers."""
    examples = {test.name for test in doctest.DocTestFinder().find(module) if test.examples}
    for name in module.__all__:
        function = getattr(module, name)
        assert function.__module__ == module.__name__
        assert getattr(module, function.__qualname__) is getattr(raw_ops, name) is function
        assert pickle.loads(pickle.dumps(function)) is function
        assert f"{module.__name__}.{function.__name__}" in examples
        assert inspect.getsource(function).startswith(f"def {function.__name__}(")
        assert [*inspect.get_annotations(function)][:-1] == [
            *inspect.signature(function).parameters
        ]


@pytest.mark.parametrize("module", [raw_ops.dense, raw_ops.sparse])
def test_every_argument_of_an_op_is_explained(module: Any) -> None:
    """Once, in the order of the signature; what all ops have comes last."""
    for name in module.__all__:
        function = getattr(module, name)
        arguments = function.__doc__.split("    Args:\n")[1].split("\n\n")[0]
        explained = ", ".join(re.findall(r"^        (\w[\w, ]*):", arguments, re.MULTILINE))
        common = [n for n in COMMON if n in inspect.signature(function).parameters]
        own = [n for n in inspect.signature(function).parameters if n not in common]
        assert explained.split(", ") == [*own, *common], name


def test_the_table_of_ops_has_no_more_than_is_used() -> None:
    rules = {rule["name"]: rule for rule in _core.RULES}
    assert sorted(rules) == sorted(rule.name for rule in _table.RULES)
    names = {name for rule in _table.RULES for name in [*rule.arguments.split(), *rule.options]}
    assert {*_table.SENTENCES, *_table.EXAMPLE, *_table.INTEGERS} <= names
    for rule in _table.RULES:
        assert {*rule.says} <= {*rule.arguments.split(), *rule.options}
        assert [n for n, says in rule.says.items() if _table.SENTENCES.get(n) == says] == []


def test_stubs_and_exports_are_up_to_date() -> None:
    for path, text in script("make_stub").files().items():
        assert path.read_text() == text, "run scripts/make_stub.py"


def test_tables_of_ops_are_up_to_date() -> None:
    for path, text in script("make_op_tables").files().items():
        assert path.read_text() == text, "run scripts/make_op_tables.py"
