"""What names may look like. Every function returns the problems of one string, in upstream's words; none means that it is valid."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

NameCheck = Callable[[str], list[str]]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SUBDOMAIN_UNDERSCORE = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_HEADER = r"[-A-Za-z0-9]+"
_PERCENT = r"[0-9]+%"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"

EMPTY_NAME = "must be non-empty"
VALID_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
VALID_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
PORT_RANGE = "must be between 1 and 65535, inclusive"
ID_RANGE = "must be between 0 and 2147483647, inclusive"


def regex_problem(text: str, pattern: str, *examples: str) -> str:
    """``text (e.g. 'a',  or 'b', regex used for validation is '...')``; the two blanks are upstream's."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


LABEL_PROBLEM = regex_problem(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
SUBDOMAIN_PROBLEM = regex_problem(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SUBDOMAIN_UNDERSCORE_PROBLEM = regex_problem(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN_UNDERSCORE,
    "example.com",
)
_WILDCARD_PROBLEM = regex_problem(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
    "which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    rf"\*\.{_SUBDOMAIN}",
    "*.example.com",
)
_LABEL_1035_PROBLEM = regex_problem(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_TEXT = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
_QUALIFIED_PROBLEM = regex_problem(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
_LABEL_VALUE_PROBLEM = regex_problem(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_PROBLEM = regex_problem(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'", _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"
)
_HEADER_PROBLEM = regex_problem("a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name")
_PERCENT_PROBLEM = regex_problem("a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%")
_ENV_PROBLEM = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def too_long(value: str, limit: int, unit: str = "characters") -> list[str]:
    return [f"must be no more than {limit} {unit}"] if len(value.encode()) > limit else []


def _checked(value: str, limit: int, pattern: str, problem: str, unit: str = "characters") -> list[str]:
    found = too_long(value, limit, unit)
    if not re.fullmatch(pattern, value):
        found.append(problem)
    return found


def dns_label(value: str) -> list[str]:
    return _checked(value, 63, _LABEL, LABEL_PROBLEM)


def dns_label_1035(value: str) -> list[str]:
    return _checked(value, 63, _LABEL_1035, _LABEL_1035_PROBLEM)


def dns_subdomain(value: str) -> list[str]:
    return _checked(value, 253, _SUBDOMAIN, SUBDOMAIN_PROBLEM)


def dns_subdomain_with_underscore(value: str) -> list[str]:
    return _checked(value, 253, _SUBDOMAIN_UNDERSCORE, _SUBDOMAIN_UNDERSCORE_PROBLEM)


def wildcard_subdomain(value: str) -> list[str]:
    return _checked(value, 253, rf"\*\.{_SUBDOMAIN}", _WILDCARD_PROBLEM)


def fully_qualified(value: str) -> list[str]:
    """A DNS subdomain of at least three parts, as webhooks are named."""
    found = dns_subdomain(value) if value else [EMPTY_NAME]
    if not found and value.count(".") < 2:
        found.append("should be a domain with at least three segments separated by dots")
    return found


def qualified_name(value: str) -> list[str]:
    """A label key: ``name`` or ``prefix/name``."""
    parts = value.split("/")
    if len(parts) > 2:
        return [f"a valid label key {_QUALIFIED_PROBLEM} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    found: list[str] = []
    if len(parts) == 2:
        if not parts[0]:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {problem}" for problem in dns_subdomain(parts[0])]
    name = parts[-1]
    if not name:
        found.append("name part must be non-empty")
    found += [f"name part {problem}" for problem in _checked(name, 63, _QUALIFIED, _QUALIFIED_PROBLEM, "bytes")]
    return found


def domain_prefixed_path(value: str) -> list[str]:
    """``acme.io/foo``: a DNS subdomain, a slash, a path."""
    if not value:
        return [EMPTY_NAME]
    prefix, slash, path = value.partition("/")
    if not slash or not prefix or not path:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    found = dns_subdomain(prefix)
    if not re.fullmatch(_HTTP_PATH, path):
        found.append(f"Invalid path (regex used for validation is '{_HTTP_PATH}')")
    return found


def label_value(value: str) -> list[str]:
    return _checked(value, 63, _LABEL_VALUE, _LABEL_VALUE_PROBLEM, "bytes")


def path_segment(value: str) -> list[str]:
    """The least that a name must be to stand in a URL, which is all that some kinds ask (RBAC)."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{char}'" for char in ("/", "%") if char in value]


def port_name(value: str) -> list[str]:
    found = too_long(value, 15)
    if not re.fullmatch(r"[-a-z0-9]+", value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else [PORT_RANGE]


def port(value: int | str) -> list[str]:
    """A port by number or by name."""
    return port_number(value) if isinstance(value, int) else port_name(value)


def unix_id(value: int) -> list[str]:
    return [] if 0 <= value <= 2147483647 else [ID_RANGE]


def config_key(value: str) -> list[str]:
    found = _checked(value, 253, _CONFIG_KEY, _CONFIG_KEY_PROBLEM)
    if value in (".", ".."):
        found.append(f"must not be '{value}'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return found


def env_name(value: str) -> list[str]:
    if not value:
        return [EMPTY_NAME]
    return [] if all(" " <= char <= "~" and char != "=" for char in value) else [_ENV_PROBLEM]


def http_header(value: str) -> list[str]:
    return [] if re.fullmatch(_HEADER, value) else [_HEADER_PROBLEM]


def percent(value: str) -> list[str]:
    return [] if re.fullmatch(_PERCENT, value) else [_PERCENT_PROBLEM]


def ip(value: str) -> list[str]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [VALID_IP]
    return [] if "%" not in value else [VALID_IP]


def cidr(value: str) -> list[str]:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return [VALID_CIDR]
    return [] if "/" in value else [VALID_CIDR]
