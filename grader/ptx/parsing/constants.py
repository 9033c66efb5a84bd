"""Constants and constant expressions. PTX ISA, "Constants": integers have 64 bits, of s64 or u64; floats are f64."""

from __future__ import annotations

import re
import struct

from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.statements import natural
from grader.ptx.syntax import Immediate

WARP_SIZE = 32
_TOKEN = re.compile(
    r"\s*(?:(?P<bits>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16})(?![\w$])"
    r"|(?P<float>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)(?![\w$])"
    r"|(?P<integer>0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)(?P<unsigned>U?)(?![\w$.])"
    r"|(?P<word>WARP_SZ|\.s64|\.u64)(?![\w$])"
    r"|(?P<mark><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>&|^!~?:()]))"
)
_LEVELS = ("||", "&&", "|", "^", "&", "== !=", "< <= > >=", "<< >>", "+ -", "* / %")  # loosest first
_LEVEL = {mark: level for level, marks in enumerate(_LEVELS) for mark in marks.split()}
_SIGN = 1 << 63
_DEEPEST = 40


class _Value:
    """An integer with its signedness, or a float."""

    __slots__ = ("is_unsigned", "number")

    def __init__(self, number: int | float, *, is_unsigned: bool = False) -> None:
        if isinstance(number, int):
            number &= 2 * _SIGN - 1
            number = number if is_unsigned or number < _SIGN else number - 2 * _SIGN
        self.number, self.is_unsigned = number, is_unsigned

    @property
    def is_float(self) -> bool:
        return isinstance(self.number, float)


def constant(text: str) -> Immediate:
    """Raises PtxError if `text` is no constant expression."""
    if text.isdigit() and text[0] != "0":
        return Immediate(int(text)) if len(text) < 20 else Immediate(_Reader(text).integer())
    return _Reader(text).immediate()


def integer(text: str) -> int:
    return _Reader(text).integer()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._token: re.Match[str] | None = None
        self._next()

    def immediate(self) -> Immediate:
        bits = self._token["bits"] if self._token else None
        if bits and self._at == len(self._text.rstrip()):
            return Immediate(int(bits[2:], 16), 32 if bits[1] in "fF" else 64)
        if match := re.fullmatch(r"\(\s*(0[fF][0-9a-fA-F]{8})\s*\)", self._text.strip()):
            return Immediate(int(match[1][2:], 16), 32)
        value = self._all()
        if isinstance(value.number, float):
            return Immediate(int.from_bytes(struct.pack("<d", value.number), "little"), 64)
        return Immediate(value.number)

    def integer(self) -> int:
        value = self._all()
        if isinstance(value.number, float):
            raise self._error()
        return value.number

    def _all(self) -> _Value:
        value = self._conditional()
        if self._token is not None:
            raise self._error()
        return value

    def _error(self) -> PtxError:
        return PtxError(f"constant not understood: {self._text[:60]!r}")

    def _next(self) -> None:
        if not self._text[self._at :].strip():
            self._token = None
            return
        self._token = _TOKEN.match(self._text, self._at)
        if self._token is None:
            raise self._error()
        self._at = self._token.end()

    def _mark(self) -> str:
        return (self._token["mark"] or "") if self._token else ""

    def _expect(self, mark: str) -> None:
        if self._mark() != mark:
            raise self._error()
        self._next()

    def _conditional(self) -> _Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error()
        value = self._binary(0)
        if self._mark() == "?":
            self._next()
            yes = self._conditional()
            self._expect(":")
            no = self._conditional()
            if value.is_float or yes.is_float or no.is_float:
                raise self._error()
            value = yes if value.number else no
        self._depth -= 1
        return value

    def _binary(self, level: int) -> _Value:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while _LEVEL.get(self._mark()) == level:
            mark = self._mark()
            self._next()
            left = self._combined(mark, left, self._binary(level + 1))
        return left

    def _unary(self) -> _Value:
        self._depth += 1
        if self._token is None or self._depth > _DEEPEST:
            raise self._error()
        mark = self._mark()
        if mark in ("-", "+", "!", "~"):
            self._next()
            value = self._signed(mark, self._unary())
        elif mark == "(":
            self._next()
            cast = self._token["word"] if self._token else None
            if cast in (".s64", ".u64"):
                self._next()
                self._expect(")")
                value = self._unary()
                if not isinstance(value.number, int):
                    raise self._error()
                value = _Value(value.number, is_unsigned=cast == ".u64")
            else:
                value = self._conditional()
                self._expect(")")
        else:
            value = self._literal(self._token)
            self._next()
        self._depth -= 1
        return value

    def _signed(self, mark: str, value: _Value) -> _Value:
        number = value.number
        if isinstance(number, float):
            if mark not in "-+":
                raise self._error()
            return _Value(-number if mark == "-" else number)
        if mark == "!":
            return _Value(int(not number))
        return _Value({"-": -number, "+": number, "~": ~number}[mark], is_unsigned=value.is_unsigned)

    def _literal(self, token: re.Match[str]) -> _Value:
        if token["float"]:
            return _Value(float(token["float"]))
        if token["word"] == "WARP_SZ":
            return _Value(WARP_SIZE)
        if not token["integer"]:
            raise self._error()
        try:
            number = natural(token["integer"])
        except ValueError:
            raise self._error() from None
        if number >= 2 * _SIGN:
            raise self._error()
        return _Value(number, is_unsigned=bool(token["unsigned"]) or number >= _SIGN)

    def _combined(self, mark: str, left: _Value, right: _Value) -> _Value:
        a, b = left.number, right.number
        if isinstance(a, float) != isinstance(b, float):
            raise self._error()
        relations = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
        is_unsigned = left.is_unsigned or right.is_unsigned
        if mark in relations and not (is_unsigned and isinstance(a, int) and isinstance(b, int)):
            return _Value(int(relations[mark]))
        if isinstance(a, float) and isinstance(b, float):
            return self._of_floats(mark, a, b)
        assert isinstance(a, int) and isinstance(b, int)
        if mark in ("<<", ">>"):
            shift = b & 63
            return _Value(a << shift if mark == "<<" else a >> shift, is_unsigned=left.is_unsigned)
        if is_unsigned:
            a, b = a & (2 * _SIGN - 1), b & (2 * _SIGN - 1)
        if mark in relations:
            return _Value(int({"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[mark]))
        if mark in ("&&", "||"):
            return _Value(int(bool(a) and bool(b)) if mark == "&&" else int(bool(a) or bool(b)))
        if mark in "/%":
            return _Value(self._quotient(mark, a, b), is_unsigned=is_unsigned)
        results = {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b}
        return _Value(results[mark], is_unsigned=is_unsigned)

    def _of_floats(self, mark: str, a: float, b: float) -> _Value:
        if mark not in "+-*/" or (mark == "/" and not b):
            raise self._error()
        return _Value({"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1.0)}[mark])

    def _quotient(self, mark: str, a: int, b: int) -> int:
        """Rounded toward zero, as in C."""
        if not b:
            raise self._error()
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return quotient if mark == "/" else a - quotient * b
