"""The secrets that lie on this machine, to take them out of what leaves it: tokens, passwords, and what the Secrets of the cluster hold."""

from __future__ import annotations

import base64
import binascii
import csv
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgek.client.joining import BOOTSTRAP_TYPE
from edgek.config import Config
from edgek.config.options import DEFAULT_CONFIG_FILE
from edgek.model.credentials import JoinToken
from edgek.model.errors import UsageError

VALUE_MOST = 64 * 1024  # bytes: what is larger is no password
_DOCKER_TYPE = "kubernetes.io/dockerconfigjson"
# What is no secret in a Secret.
_PLAIN = {
    "kubernetes.io/service-account-token": {"namespace", "ca.crt"},
    "kubernetes.io/tls": {"tls.crt", "ca.crt"},
    "edgek.io/node-password": {"hash"},
}
_ASSIGNED = re.compile(r"^\s*([\w-]*(?:token|password|passphrase|secret)[\w-]*)\s*[=:][ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"['\"]?([^\s'\"]+)")


def of_machine(config: Config, secrets: Iterable[dict[str, Any]]) -> Iterator[str]:
    """``secrets`` are the Secret objects that could be read."""
    yield from _tokens(config)
    yield from _settings(config)
    for obj in (*secrets, *_copies(config)):
        yield from of_secret(obj)


def of_secret(obj: dict[str, Any]) -> Iterator[str]:
    kind = str(obj.get("type") or "")
    for key, encoded in (obj.get("data") or {}).items():
        if key in _PLAIN.get(kind, ()) or (kind == BOOTSTRAP_TYPE and key != "token-secret"):
            continue
        try:
            value = base64.b64decode(str(encoded)).decode()
        except (binascii.Error, UnicodeDecodeError):
            yield str(encoded)[:VALUE_MOST]
            continue
        if len(value) <= VALUE_MOST:
            yield value
        if kind == _DOCKER_TYPE:
            yield from _docker(value)


def _docker(text: str) -> Iterator[str]:
    try:
        auths = json.loads(text)["auths"].values()
        yield from (str(value) for auth in auths for name, value in auth.items() if name in ("password", "auth", "identitytoken"))
    except (ValueError, KeyError, AttributeError, TypeError):
        return


def _tokens(config: Config) -> Iterator[str]:
    files = [config.kept_token, config.kept_agent_token, config.agent_dir / "node-password", *([config.token_file] if config.token_file else [])]
    for text in (*map(_text, files), config.token, config.agent_token):
        if text.strip():
            yield text.strip()
            try:
                yield JoinToken.parse(text.strip()).secret
            except UsageError:
                continue
    if config.token_auth_file:
        yield from (row[0] for row in csv.reader(_text(config.token_auth_file).splitlines()) if row)


def _settings(config: Config) -> Iterator[str]:
    for file in (DEFAULT_CONFIG_FILE, DEFAULT_CONFIG_FILE.with_name("edgek.env")):
        yield from assigned(_text(file))
    text = _text(config.private_registry)
    if not text:
        return
    import yaml

    try:
        hosts = (yaml.safe_load(text) or {}).get("configs") or {}
        auths = [host.get("auth") or {} for host in hosts.values()]
        yield from (str(value) for auth in auths for name, value in auth.items() if name != "username" and value)
    except (yaml.YAMLError, AttributeError, TypeError):
        yield from text.split()  # what cannot be understood is not quoted


def assigned(text: str) -> Iterator[str]:
    """By a name that says so, as the configuration file or the service's variables have it: quoted for a shell there."""
    for found in _ASSIGNED.finditer(text):
        if found[1].lower().endswith("file"):
            continue
        if word := _WORD.match(found[2]):
            yield word[1]
        with suppress(ValueError, IndexError):
            yield re.sub(r"\\([$`])", r"\1", shlex.split(found[2])[0])  # shlex leaves these to shells


def _copies(config: Config) -> Iterator[dict[str, Any]]:
    """Secrets that an agent keeps for the time without a server."""
    for file in (config.agent_dir / "copies").rglob("*.json"):
        if "secret" not in str(file.relative_to(config.agent_dir)).lower():
            continue
        try:
            found = json.loads(_text(file))
        except ValueError:
            continue
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict):
                yield each


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
