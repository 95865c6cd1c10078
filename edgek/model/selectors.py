"""Label and field selectors: parsed once, in upstream's words where they are wrong, and matched often.

Grammar of labels: ``k=v,k==v,k!=v,k in (a,b),k notin (a),k,!k,k>1,k<1``; of fields: ``k=v,k==v,k!=v``.
See k8s.io/apimachinery/pkg/labels and pkg/fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from edgek.model.errors import BadRequest

Operator = Literal["in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!"]

_SYMBOLS: dict[str, Operator] = {"in": "in", "notin": "notin", "=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt"}
_EXPRESSIONS: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}
_ANY_OF = frozenset({"in", "=", "=="})
_NONE_OF = frozenset({"notin", "!="})

_LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONGEST_NAME = 63  # bytes of a label value, or of a label key after its prefix
_LONGEST_PREFIX = 253  # bytes

_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  "
    "or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_PREFIX_RULE = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_KEY_RULE = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
    "subdomain prefix and '/' (e.g. 'example.com/MyName')"
)


class SelectorError(BadRequest):
    """Not a selector; the message is upstream's and goes to the client as it is."""


@attrs.frozen
class Requirement:
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator in _ANY_OF:
            return value is not None and value in self.values
        if self.operator in _NONE_OF:
            return value is None or value not in self.values
        if self.operator == "!":
            return value is None
        if self.operator == "exists" or value is None:
            return value is not None
        return self._compares(value)

    def _compares(self, value: str) -> bool:
        if not _INTEGER.fullmatch(value):
            return False
        (bound,) = self.values
        return int(value) > int(bound) if self.operator == "gt" else int(value) < int(bound)

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({values})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{values}"
        return f"{self.key}{self.operator}{values}"


@attrs.frozen
class LabelSelector:
    """All requirements must hold; with none it selects everything. ``nothing`` selects no object at all."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def of_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """What has all of these labels (``Service.spec.selector``, ``nodeSelector``). Nothing is checked."""
    return LabelSelector(tuple(Requirement(key, "=", frozenset({value})) for key, value in sorted((labels or {}).items())))


def of_dict(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A LabelSelector as objects carry it; None selects nothing, ``{}`` everything. Raises SelectorError."""
    if selector is None:
        return NOTHING
    requirements = list(of_labels(selector.get("matchLabels")).requirements)
    for expression in selector.get("matchExpressions") or ():
        requirements.append(of_expression(expression))
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def of_dict_or_nothing(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Likewise, for those who cannot refuse it any more: what is no selector selects nothing."""
    try:
        return of_dict(selector)
    except SelectorError:
        return NOTHING


def of_expression(expression: Mapping[str, Any]) -> Requirement:
    """One ``{key, operator, values}``, of a LabelSelector or a NodeSelectorTerm. Raises SelectorError."""
    operator = _EXPRESSIONS.get(expression.get("operator", ""))
    if operator is None:
        raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
    return _requirement(expression.get("key", ""), operator, expression.get("values") or ())


def parse_labels(text: str) -> LabelSelector:
    """``?labelSelector=``. Raises SelectorError."""
    return LabelSelector(tuple(sorted(_Parser(text).requirements(), key=lambda requirement: requirement.key)))


@attrs.frozen
class FieldRequirement:
    field: str
    value: str
    equal: bool = True


@attrs.frozen
class FieldSelector:
    requirements: tuple[FieldRequirement, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.requirements

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(r.field, "") == r.value) == r.equal for r in self.requirements)

    def exact(self, field: str) -> str | None:
        """The one value that ``field`` must have (``metadata.name=x`` makes a list a read), else None."""
        return next((r.value for r in self.requirements if r.field == field and r.equal), None)

    def check(self, kind: str, allowed: Iterable[str]) -> None:
        """``allowed``: the kind's selectable fields beyond name and namespace. Raises SelectorError for any other."""
        known = set(allowed)
        for requirement in self.requirements:
            if requirement.field not in known and requirement.field not in ("metadata.name", "metadata.namespace"):
                raise SelectorError(_unknown_field(kind, requirement.field, bool(known)))

    def __str__(self) -> str:
        return ",".join(f"{r.field}{'=' if r.equal else '!='}{_escape(r.value)}" for r in self.requirements)


def parse_fields(text: str) -> FieldSelector:
    """``?fieldSelector=``. Raises SelectorError."""
    return FieldSelector(tuple(_field_requirement(text, term) for term in _terms(text) if term))


def value_problem(value: str) -> str:
    """Why this cannot be a label's value, or an empty string."""
    if len(value.encode()) > _LONGEST_NAME:
        return f"must be no more than {_LONGEST_NAME} bytes"
    return "" if not value or _LABEL_NAME.fullmatch(value) else _VALUE_RULE


def key_problem(key: str) -> str:
    """Why this cannot be a label's key (a qualified name), or an empty string."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return _KEY_RULE
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif len(prefix) > _LONGEST_PREFIX:
        problems.append(f"prefix part must be no more than {_LONGEST_PREFIX} bytes")
    elif prefix and not _LABEL_PREFIX.fullmatch(prefix):
        problems.append(_PREFIX_RULE)
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > _LONGEST_NAME:
        problems.append(f"name part must be no more than {_LONGEST_NAME} bytes")
    if not _LABEL_NAME.fullmatch(name):
        problems.append(_NAME_RULE)
    return "; ".join(problems)


def _requirement(key: str, operator: Operator, values: Iterable[str]) -> Requirement:
    ordered = sorted(set(values))
    problems = []
    if problem := key_problem(key):
        problems.append(f'key: Invalid value: "{key}": {problem}')
    if operator in ("in", "notin") and not ordered:
        problems.append("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and ordered:
        problems.append(f"values: Invalid value: {_go_strings(ordered)}: values set must be empty for exists and does not exist")
    if operator in ("gt", "lt"):
        if len(ordered) != 1:
            problems.append(f"values: Invalid value: {_go_strings(ordered)}: for 'Gt', 'Lt' operators, exactly one value is required")
        problems += [
            f"values[{at}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            for at, value in enumerate(ordered)
            if not _INTEGER.fullmatch(value)
        ]
    problems += [f'values[{at}][{key}]: Invalid value: "{value}": {why}' for at, value in enumerate(ordered) if (why := value_problem(value))]
    if problems:
        raise SelectorError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, frozenset(ordered))


def _go_strings(values: list[str]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


class _Parser:
    """A word at a time with one word of look-ahead, as upstream does it, so that the errors come out the same."""

    def __init__(self, text: str) -> None:
        self._words = list(self._split(text))
        self._at = 0

    @classmethod
    def _split(cls, text: str) -> Iterator[str]:
        yield from re.findall(r"==|!=|[()!,=<>]|[^ \t\r\n()!,=<>]+", text)
        yield ""

    @property
    def _next(self) -> str:
        return self._words[min(self._at, len(self._words) - 1)]

    def _take(self) -> str:
        word = self._next
        self._at += 1
        return word

    @staticmethod
    def _is_name(word: str) -> bool:
        return bool(word) and word[0] not in "()!,=<>"

    def requirements(self) -> Iterator[Requirement]:
        while self._next:
            if not self._is_name(self._next) and self._next != "!":
                raise SelectorError(f"found '{self._next}', expected: !, identifier, or 'end of string'")
            try:
                yield self._one()
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error.message}") from None
            word = self._take()
            if not word:
                return
            if word != ",":
                raise SelectorError(f"found '{word}', expected: ',' or 'end of string'")
            if not self._is_name(self._next) and self._next != "!":
                raise SelectorError(f"found '{self._next}', expected: identifier after ','")

    def _one(self) -> Requirement:
        absent = self._next == "!"
        if absent:
            self._take()
        key = self._take()
        if not self._is_name(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        if problem := key_problem(key):
            raise SelectorError(f'key: Invalid value: "{key}": {problem}')
        if absent:
            return _requirement(key, "!", ())
        if self._next in ("", ","):
            return _requirement(key, "exists", ())
        word = self._take()
        operator = _SYMBOLS.get(word)
        if operator is None:
            raise SelectorError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        return _requirement(key, operator, self._values() if operator in ("in", "notin") else {self._value()})

    def _value(self) -> str:
        if self._next in ("", ","):
            return ""
        word = self._take()
        if not self._is_name(word):
            raise SelectorError(f"found '{word}', expected: identifier")
        return word

    def _values(self) -> set[str]:
        if (word := self._take()) != "(":
            raise SelectorError(f"found '{word}' expected: '('")
        if self._next == ")":
            self._take()
            return set()
        if not self._is_name(self._next) and self._next != ",":
            raise SelectorError(f"found '{self._next}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            if self._is_name(self._next):
                values.add(self._take())
            else:
                values.add("")  # between two commas, or beside a parenthesis
            word = self._take()
            if word == ")":
                return values
            if word != ",":
                raise SelectorError(f"found '{word}', expected: ',' or ')'")


def _terms(text: str) -> Iterator[str]:
    """Split at commas that no backslash stands before."""
    for match in re.finditer(r"((?:[^,\\]|\\.)*\\?)(?:,|$)", text, re.DOTALL):
        yield match[1]


def _field_requirement(text: str, term: str) -> FieldRequirement:
    match = re.match(r"((?:[^=!\\]|\\.|!(?!=))*)(!=|==|=)(.*)", term, re.DOTALL)
    if match is None:
        raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
    return FieldRequirement(match[1], _unescape(match[3]), match[2] != "!=")


def _unescape(value: str) -> str:
    for match in re.finditer(r"\\(.?)|([,=])", value, re.DOTALL):
        if match[2]:
            raise SelectorError(f"invalid field selector: unescaped character in value: {match[2]}")
        if match[1] not in ("\\", ",", "="):
            raise SelectorError(f"invalid field selector: invalid escape sequence: {match[0]}")
    return re.sub(r"\\(.)", r"\1", value)


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def _unknown_field(kind: str, field: str, has_fields: bool) -> str:
    if kind == "Job":
        return f'field label "{field}" not supported for Job'
    if has_fields:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
