"""Docstrings, signatures and the stub say what the extension really does."""

import doctest
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import slotwise
from slotwise import _core, optimizers, raw_ops

MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(slotwise.__path__, "slotwise.")
    if found.name != "slotwise._core"
]
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_functions() -> list:
    found = []
    for module in (slotwise, raw_ops, optimizers, optimizers.schedules, slotwise.interop):
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                found.append(pytest.param(getattr(module, name), id=f"{module.__name__}.{name}"))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_run(module):
    failed, _ = doctest.testmod(module, optionflags=FLAGS)
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_run(page, tmp_path, monkeypatch):
    """Every block of Python, one after the other in one namespace, as a reader would."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, block in enumerate(PYTHON_BLOCK.findall(page.read_text())):
        where = f"{page.name}, block {number}"
        if ">>> " in block:
            test = doctest.DocTestParser().get_doctest(block, names, where, str(page), 0)
            failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False)
            assert failed == 0
            names.update(test.globs)
        else:
            exec(compile(block, where, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_merge_markers(page):
    assert not re.search(r"^(<{7}|={7}|>{7})", page.read_text(), re.MULTILINE)


def test_every_op_is_on_a_page():
    text = (ROOT / "docs" / "raw_ops.md").read_text()
    names = [n.removeprefix("Resource") for n in raw_ops.__all__]
    assert [n for n in names if f"`{n}`" not in text] == []


@pytest.mark.parametrize("function", public_functions())
def test_public_functions_are_documented(function):
    assert function.__doc__ is not None
    assert ">>> " in function.__doc__, "no example"
    if "Args:" in function.__doc__:
        documented = function.__doc__.split("Args:")[1]
        for name in inspect.signature(function).parameters:
            assert name in documented


@pytest.mark.parametrize("rule", _core.RULES, ids=lambda rule: rule["name"])
def test_signatures_follow_the_registry(rule):
    common = {"var", *rule["slots"], *rule["hypers"], *rule["attrs"], "use_locking", "name"}
    expected = {}
    if rule["has_sparse"]:
        expected["SparseApply"] = {*common, "grad", "indices", "duplicates", "bounds"}
    if rule["has_dense"]:
        expected["Apply"] = {*common, rule["grad"]}
    for prefix, names in expected.items():
        op = prefix + rule["name"]
        assert set(inspect.signature(getattr(raw_ops, op)).parameters) == names
        assert op in raw_ops.__all__


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stub_is_up_to_date():
    make_stub = script("make_stub")
    assert make_stub.STUB.read_text() == make_stub.stub(), "run scripts/make_stub.py"


def test_tables_of_ops_are_up_to_date():
    tables = script("make_op_tables")
    text = tables.PAGE.read_text()
    assert tables.page(text) == text, "run scripts/make_op_tables.py"
