# SPDX-License-Identifier: Apache-2.0
"""What `make docs` makes pages of: public names, equations, tables, links."""

from __future__ import annotations

import importlib
import inspect
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from slotwise import optimizers, raw_ops

from scripts import check_site
from scripts.pages import equations, public, reference

ROOT = Path(__file__).parents[2]
DOCUMENTED = {
    entry.path: text
    for entry in public.entries()
    if (text := inspect.getdoc(public.imported(entry.path)))
}


@pytest.mark.parametrize("module", public.MODULES)
def test_every_public_name_has_an_entry(module: str) -> None:
    """The same names as ``__all__`` has, modules left out; each on exactly one page."""
    if module != "slotwise.torch":
        real = importlib.import_module(module)
        names = {name for name in getattr(real, "__all__", ()) if name != "__version__"}
        values = {name: getattr(real, name) for name in names}
        assert {n for n, v in values.items() if not inspect.ismodule(v)} <= {
            name for name, _ in public.listed(module)
        }
    pages = reference.pages()
    for _, entry in public.listed(module):
        found = [place for place, text in pages.items() if f"::: {entry.path}\n" in text]
        assert len(found) == 1, (entry, found)


def test_every_page_is_in_the_navigation() -> None:
    """A page that is not there cannot be found; `make docs` refuses it, too."""
    text = (ROOT / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    for page in [*pages, *reference.pages()]:
        assert re.search(rf"[ :]{re.escape(page)}$", text, re.MULTILINE), page


class _Balance(HTMLParser):
    """Elements that are open, and those that were."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", DOCUMENTED)
def test_equations_are_typeset(path: str) -> None:
    """No block of equations stays as it was, in any docstring: all that is left are examples."""
    text = DOCUMENTED[path]
    if path.startswith("slotwise.optimizers.") or ".raw_ops." in path:
        left = equations.typeset(text).split("\nArgs:")[0].split("\nExample:")[0]
        assert not re.search(r"(?m)^    \S.* [+*-]?= ", left), left
    page = _Balance("".join(re.findall("<div.*</div>", equations.typeset(text))))
    assert page.open == []


def test_fractions_powers_and_conditions() -> None:
    adam = equations.typeset(inspect.getdoc(optimizers.Adam) or "")
    assert "<msubsup><mi>&beta;</mi><mn>2</mn><mrow><mi>t</mi></mrow></msubsup>" in adam
    assert "<mtext>or, with amsgrad</mtext>" in adam
    # A run of factors over a run of divisors is one fraction, in the order in which they stand.
    drawn = equations.mathml(["x = a / b * c / d"])
    fractions = re.findall(r"<mfrac>.*?</mfrac>", drawn)
    assert [re.sub("<.*?>", "", each) for each in fractions] == ["ab", "cd"]
    assert "(</mo><mi>a</mi><mo>+</mo><mi>b</mi><mo" in equations.mathml(["x = (a + b) * c"])
    assert "(" not in equations.mathml(["x = (a + b) / c"])
    assert "(</mo><mi>a</mi><mo>&minus;</mo>" in equations.mathml(["x = c - (a - b)"])


@pytest.mark.parametrize(
    "line", ["no equation", "x = y z", "x = lambda: 3", "x = [1, 2]", "x = f(*y)", ""]
)
def test_what_is_no_equation_stays(line: str) -> None:
    text = f"A sentence.\n\n    {line}\n\nAnother.\n"
    assert equations.typeset(text) == text


def test_the_support_matrix_has_every_optimizer() -> None:
    page = reference.pages()["reference/support_matrix.md"]
    for name in [*optimizers.current.__all__, *optimizers.legacy.__all__]:
        assert f"| `{name}` |" in page or name == "Optimizer"
    assert "| `Adam` | `amsgrad=True` | whole | rows |" in page


def test_ops_link_to_the_page_of_their_rule() -> None:
    pages = reference.pages()
    assert "::: slotwise.raw_ops.ApplyAdam\n" in pages["reference/raw_ops/dense.md"]
    assert "ResourceApplyAdam" in dict(public.listed("slotwise.raw_ops"))
    assert dict(public.listed("slotwise.raw_ops"))["ResourceApplyAdam"].name == "ApplyAdam"
    assert len(dict(public.listed("slotwise.raw_ops"))) == len(raw_ops.__all__)


def test_charts_have_the_figures_of_their_tables() -> None:
    from scripts.pages import tables  # imports matplotlib, which takes its time

    table = (
        "| work | size | tensorflow | torch |\n| --- | --- | --: | --: |\n"
        "| Dense | 16 Ki | 7.62x | 0.50x |\n|  | 64 Mi | 2.00x |  |\n"
    )
    page = tables.with_charts(f"before\n\n<!-- chart -->\n\n{table}\nafter\n")
    assert page.startswith('before\n\n<div class="chart"><svg') and page.endswith("\nafter\n")
    for text in ("Dense, 16 Ki", ">64 Mi<", ">tensorflow<", ">torch<", ">0.5x<"):
        assert text in page, text
    assert "| 16\N{NO-BREAK SPACE}Ki | 7.62x | 0.50x |" in page
    assert tables.with_charts(table) == table


def test_a_site_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">x</a><a href="b.html#gone">x</a><a href="c.html">x</a>'
        '<img src="d.png"><script src="https://example.com/x.js"></script>'
        '<a href="https://example.com">x</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="a.html">x</a><a href="#here">y</a></p>')
    assert check_site.problems(tmp_path) == [
        "a.html: loads https://example.com/x.js",
        "a.html: no text for d.png",
        "a.html: no anchor b.html#gone",
        "a.html: nothing at c.html",
        "a.html: nothing at d.png",
    ]
