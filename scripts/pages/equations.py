# SPDX-License-Identifier: Apache-2.0
"""Typesets the equations of docstrings: plain lines become MathML, which browsers draw themselves.

An equation reads ``name = expression``, then two spaces or more, then a condition. What stands
before and after the sign of assignment is Python except for ``^``, ``|x|`` and a few names, so its
parser can read it. A block with a line that cannot be read stays as it is.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_GREEK = {
    "alpha": "&alpha;",
    "beta": "&beta;",
    "epsilon": "&varepsilon;",
    "eps": "&varepsilon;",
    "eta": "&eta;",
    "mu": "&mu;",
    "pi": "&pi;",
    "rho": "&rho;",
}
_SIGN = re.compile(r"^(.+?)\s*(\+=|-=|\*=|=)\s+(.+)$")
_SIGNS = {"=": "=", "+=": "+=", "-=": "&minus;=", "*=": "&times;="}
_COMPARED = {ast.Lt: "&lt;", ast.Gt: "&gt;", ast.LtE: "&le;", ast.GtE: "&ge;", ast.Eq: "="}
_PRIME, _SUB, _OVER, _ABS = "_prime", "sub_of", "over_axis", "abs_of"


class UnreadableError(ValueError):
    """A line that is no equation."""


@dataclass
class _Row:
    left: str
    sign: str
    right: str
    condition: str = ""


def typeset(docstring: str) -> str:
    """The docstring with its blocks of equations as MathML; examples stay what they are."""
    return "".join(_blocks(docstring))


def _blocks(docstring: str) -> Iterator[str]:
    lines = docstring.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        end = at
        begins = not at or not lines[at - 1].strip()
        while begins and end < len(lines) and (_is_code(lines[end]) or not lines[end].strip()):
            end += 1
        while end > at and not lines[end - 1].strip():
            end -= 1
        if end > at:
            block = lines[at:end]
            try:
                yield f"{mathml([line.rstrip()[4:] for line in block])}\n"
            except UnreadableError:
                yield from block
            at = end
        else:
            yield lines[at]
            at += 1


def _is_code(line: str) -> bool:
    return line.startswith("    ") and bool(line.strip())


def mathml(lines: Iterable[str]) -> str:
    """A block of equations, aligned at their signs.

    Raises:
        UnreadableError: a line is no equation.
    """
    rows = []
    for text in _joined(lines):
        row = _row(text) if text else None
        gap = ' class="gap"' if row is None else ""
        cells = ("", "", "", "") if row is None else (row.left, row.sign, row.right, row.condition)
        rows.append(f"<mtr{gap}>{''.join(f'<mtd>{cell}</mtd>' for cell in cells)}</mtr>")
    table = f'<mtable displaystyle="true">{"".join(rows)}</mtable>'
    return f'<div class="equations"><math display="block">{table}</math></div>'


def _joined(lines: Iterable[str]) -> list[str]:
    """Lines that go on are added to the one before, and so are conditions that stand alone."""
    found: list[str] = []
    for line in lines:
        deeper = line.startswith("  ") and found and found[-1]
        if deeper and line.strip()[0] in "+-*/":
            found[-1] += " " + line.strip()
        elif deeper and line.startswith(" " * 20):
            found[-1] += "    " + line.strip()
        elif line.startswith(" "):
            raise UnreadableError(line)
        else:
            found.append(line.strip())
    return found


def _row(text: str) -> _Row:
    if re.fullmatch(r"\([a-z ]+\)", text):
        return _Row("", "", _words(text.strip("()")))
    split = _SIGN.match(text)
    if split is None:
        raise UnreadableError(text)
    left, sign, rest = split.groups()
    right, *conditions = re.split(r" {2,}", rest)
    condition = ", ".join(c.rstrip(",") for c in conditions)
    try:
        drawn = _expression(right)
    except UnreadableError:
        drawn, more = _longest(right)
        condition = f"{more} {condition}".strip()
    return _Row(_expression(left), f"<mo>{_SIGNS[sign]}</mo>", drawn, _condition(condition))


def _longest(text: str) -> tuple[str, str]:
    """What can be read before words begin, and the words."""
    for match in reversed(list(re.finditer(r",? (?=where |if |with )|, ", text))):
        try:
            return _expression(text[: match.start()]), text[match.end() :]
        except UnreadableError:
            continue
    raise UnreadableError(text)


def _condition(text: str) -> str:
    """Words, or an equation that explains a name; code among the words is drawn."""
    if not text:
        return ""
    if _SIGN.match(text) and (split := _SIGN.match(text)):
        try:
            left, right = _expression(split[1]), _expression(split[3])
            return f"<mrow>{left}<mo>{_SIGNS[split[2]]}</mo>{right}</mrow>"
        except UnreadableError:
            pass
    match = re.match(r"(if )(.+?)(; otherwise|, else 0|)$", text)
    if match:
        try:
            return (
                f"<mrow>{_words(match[1])}{_expression(match[2])}{_words(match[3].rstrip())}</mrow>"
            )
        except UnreadableError:
            pass
    return _words(text)


def _words(text: str) -> str:
    """Text whose spaces at its ends are kept."""
    kept = re.sub(r"^ | $", "\N{NO-BREAK SPACE}", text)
    return f"<mtext>{html.escape(kept)}</mtext>" if text else ""


def _expression(text: str) -> str:
    source = re.sub(r"\|([^|]+)\|", rf"{_ABS}(\1)", text.replace("'", _PRIME))
    source = re.sub(r"(\w+)_\((.+?)\)", rf"{_SUB}(\1, \2)", source)
    source = re.sub(r"\bmean\((\w+), ([a-z ]+ axis)\)", rf'{_OVER}(\1, "\2")', source)
    source = source.replace("^", "**")
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError:
        raise UnreadableError(text) from None
    return _drawn(tree)


def _drawn(node: ast.expr) -> str:
    match node:
        case ast.Name(name):
            return _name(name)
        case ast.Constant(value):
            return f"<mn>{html.escape(str(value))}</mn>"
        case ast.UnaryOp(ast.USub(), operand):
            return f"<mrow><mo>&minus;</mo>{_inner(operand, 2)}</mrow>"
        case ast.BinOp(left, ast.Pow(), right):
            base = _drawn(left) if _level(left) == _ATOM else _in_parentheses(_drawn(left))
            if match := re.fullmatch(r"<msub>(.*)</msub>", base):
                return f"<msubsup>{match[1]}{_one(_drawn(right))}</msubsup>"
            return f"<msup>{_one(base)}{_one(_drawn(right))}</msup>"
        case ast.BinOp(_, ast.Mult() | ast.Div(), _):
            return _product(node)
        case ast.BinOp(left, (ast.Add() | ast.Sub()) as op, right):
            sign = "+" if isinstance(op, ast.Add) else "&minus;"
            return f"{_drawn(left)}<mo>{sign}</mo>{_inner(right, 2)}"
        case ast.Compare(left, [op], [right]) if type(op) in _COMPARED:
            return f"{_drawn(left)}<mo>{_COMPARED[type(op)]}</mo>{_drawn(right)}"
        case ast.Call(ast.Name(function), arguments, keywords):
            return _call(function, arguments, keywords)
        case ast.Subscript(value, ast.Name(name)):
            return f"<msub>{_one(_drawn(value))}{_name(name)}</msub>"
        case ast.Subscript(value, places):
            shown = html.escape(ast.unparse(places).strip("()")).replace("...", "&hellip;")
            return f"{_drawn(value)}<mtext>[{shown}]</mtext>"
    raise UnreadableError(ast.unparse(node))


_SUM, _PRODUCT, _ATOM = 1, 2, 3


def _level(node: ast.expr) -> int:
    """How tightly its parts hold together."""
    match node:
        case ast.BinOp(_, ast.Add() | ast.Sub(), _):
            return _SUM
        case ast.BinOp() | ast.UnaryOp() | ast.Compare():
            return _PRODUCT
    return _ATOM


def _inner(node: ast.expr, least: int) -> str:
    return _drawn(node) if _level(node) >= least else _in_parentheses(_drawn(node))


def _in_parentheses(drawn: str) -> str:
    return _between("(", drawn, ")")


def _between(opens: str, drawn: str, closes: str) -> str:
    return f'<mrow><mo fence="true">{opens}</mo>{drawn}<mo fence="true">{closes}</mo></mrow>'


def _one(drawn: str) -> str:
    return f"<mrow>{drawn}</mrow>"


def _product(node: ast.expr) -> str:
    """Factors in their order: a run of them over a run of divisors is one fraction."""
    fractions: list[tuple[list[ast.expr], list[ast.expr]]] = [([], [])]
    for is_divisor, factor in _factors(node):
        if not is_divisor and fractions[-1][1]:
            fractions.append(([], []))
        fractions[-1][is_divisor].append(factor)
    drawn = []
    for above, below in fractions:
        if below:
            drawn.append(f"<mfrac>{_one(_line(above))}{_one(_line(below))}</mfrac>")
        else:
            # A sum that is alone among fractions needs its parentheses.
            drawn.append(_line(above, is_alone=len(fractions) == 1))
    return "<mo>&middot;</mo>".join(drawn)


def _factors(node: ast.expr) -> Iterator[tuple[bool, ast.expr]]:
    match node:
        case ast.BinOp(left, (ast.Mult() | ast.Div()) as op, right):
            yield from _factors(left)
            yield isinstance(op, ast.Div), right
        case _:
            yield False, node


def _line(factors: list[ast.expr], is_alone: bool = True) -> str:
    if len(factors) == 1 and is_alone:
        return _drawn(factors[0])
    return "<mo>&middot;</mo>".join(_inner(factor, _PRODUCT) for factor in factors)


def _call(function: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> str:
    drawn = [_drawn(a) for a in arguments if not isinstance(a, ast.Constant) or a.value != str(a)]
    match function, arguments:
        case "sqrt", [_]:
            return f"<msqrt>{drawn[0]}</msqrt>"
        case "abs_of", [_]:
            return f'<mrow><mo fence="true">|</mo>{drawn[0]}<mo fence="true">|</mo></mrow>'
        case "norm", [_]:
            return (
                f'<mrow><mo fence="true">&Vert;</mo>{drawn[0]}<mo fence="true">&Vert;</mo></mrow>'
            )
        case "sub_of", [_, _]:
            return f"<msub>{_one(drawn[0])}{_one(drawn[1])}</msub>"
        case "over_axis", [_, ast.Constant(str(axis))]:
            return f"<mi>mean</mi>{_in_parentheses(f'{drawn[0]}<mo>,</mo>{_words(axis)}')}"
    inner = "<mo>,</mo>".join(
        [*drawn, *(_words(f"{k.arg}={ast.unparse(k.value)}") for k in keywords)]
    )
    return f"<mrow>{_name(function)}{_in_parentheses(inner)}</mrow>"


def _name(name: str) -> str:
    """Greek, a subscript of one character, a hat; other names as the arguments are spelled."""
    if name.endswith(_PRIME):
        return f"<msup>{_name(name.removesuffix(_PRIME))}<mo>&prime;</mo></msup>"
    if name == "vhat":
        return '<mover accent="true"><mi>v</mi><mo>^</mo></mover>'
    match = re.fullmatch(r"([a-z]+?)_?(\d)|([a-z]+)_([a-z])", name)
    if match:
        base, below = match[1] or match[3], match[2] or match[4]
        tag = "mn" if below.isdigit() else "mi"
        return f"<msub>{_name(base)}<{tag}>{below}</{tag}></msub>"
    if name in _GREEK:
        return f"<mi>{_GREEK[name]}</mi>"
    return f"<mi>{html.escape(name)}</mi>"
