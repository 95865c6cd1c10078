"""Registries as the operator wants them: ``/etc/edgek/registries.yaml`` (the format of k3s) turned into containerd's ``certs.d``.

``mirrors`` says where else to look for a registry's images, with ``endpoint`` and ``rewrite``; ``configs`` gives credentials and TLS for a host.
containerd reads ``certs.d`` at each pull, so that a change needs no restart; credentials travel with the pull and are never written down again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from edgek.agent.runtime.reference import normalized
from edgek.agent.runtime.runtime import RegistryAuth
from edgek.host import files, log
from edgek.model.errors import UsageError

DEFAULT_HOST = "_default"  # containerd's name for "every other registry"; registries.yaml writes "*"
DOCKER_HUB = "docker.io"
_UPSTREAMS = {DOCKER_HUB: "https://registry-1.docker.io"}


class BadRegistries(UsageError):
    """The file says something that cannot be meant."""


@attrs.frozen
class Tls:
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False


@attrs.frozen
class Host:
    """What ``configs`` says of one host."""

    auth: RegistryAuth | None = None
    tls: Tls | None = None


@attrs.frozen
class Mirror:
    endpoints: tuple[str, ...] = ()
    prefix: str = ""  # before every repository at the endpoints


@attrs.frozen
class Registries:
    mirrors: Mapping[str, Mirror] = attrs.field(factory=dict)
    hosts: Mapping[str, Host] = attrs.field(factory=dict)

    def auths(self, reference: str) -> tuple[RegistryAuth, ...]:
        """Credentials for whoever may be asked for this image: its mirrors, then its own registry."""
        registry = normalized(reference).partition("/")[0]
        mirror = self.mirrors.get(registry) or self.mirrors.get("*") or Mirror()
        asked = dict.fromkeys([*(urlsplit(_url(endpoint)).netloc for endpoint in mirror.endpoints), registry, _server_host(registry)])
        return tuple(host.auth for name in asked if (host := self.hosts.get(name)) is not None and host.auth is not None)


class Source:
    """The file as it is now: asked at each pull, read when it has changed. A mistake made while we run leaves the former in force."""

    def __init__(self, file: Path, certs_dir: Path) -> None:
        """Raises BadRegistries."""
        self._file, self._certs_dir = file, certs_dir
        self._stamp = _stamp(file)
        self._current = load(file)
        write_certs(self._current, certs_dir)

    def __call__(self) -> Registries:
        stamp = _stamp(self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = load(self._file)
                write_certs(self._current, self._certs_dir)
            except BadRegistries as error:
                log.error("registries not changed", why=error)
        return self._current


def load(file: Path) -> Registries:
    """An empty one when there is no file. Raises BadRegistries."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return Registries()
    import yaml  # loaded only where there is something to read

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRegistries(f"{file} is not YAML: {error}") from error
    try:
        return parse(content or {})
    except BadRegistries as error:
        raise BadRegistries(f"{file}: {error}") from None


def parse(content: Mapping[str, Any]) -> Registries:
    """Raises BadRegistries for keys that nobody reads: a misspelt mirror must not go unnoticed."""
    _known(content, "registries", {"mirrors", "configs"})
    mirrors = {name: _mirror(name, value or {}) for name, value in (content.get("mirrors") or {}).items()}
    hosts = {name: _host(name, value or {}) for name, value in (content.get("configs") or {}).items()}
    return Registries(mirrors, hosts)


def write_certs(registries: Registries, folder: Path) -> None:
    """Make the folder say exactly this."""
    wanted = set()
    names = [name for name, host in registries.hosts.items() if host.tls is not None]
    for name in dict.fromkeys([*registries.mirrors, *names]):
        host = DEFAULT_HOST if name == "*" else name
        wanted.add(host)
        path, content = folder / host / "hosts.toml", hosts_toml(registries, name)
        if not path.exists() or path.read_text() != content:
            files.write_atomically(path, content, mode=0o600)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        if stale.is_dir() and stale.name not in wanted:
            shutil.rmtree(stale)


def hosts_toml(registries: Registries, name: str) -> str:
    """containerd's hosts.toml for one registry: the mirrors in order, and the registry itself last."""
    mirror = registries.mirrors.get(name, Mirror())
    server = "" if name == "*" else _UPSTREAMS.get(name, _url(name))
    lines = [f"server = {_quoted(server)}"] if server else []
    for url in (*(_rewritten(_url(endpoint), mirror.prefix) for endpoint in mirror.endpoints), *([server] if server else [])):
        lines += ["", f"[host.{_quoted(url)}]", '  capabilities = ["pull", "resolve"]']
        if urlsplit(url).path.strip("/"):
            lines.append("  override_path = true")
        tls = (registries.hosts.get(urlsplit(url).netloc) or Host()).tls
        lines += _tls_lines(tls) if tls else []
    return "\n".join(lines) + "\n"


def _tls_lines(tls: Tls) -> list[str]:
    lines = []
    if tls.ca_file:
        lines.append(f"  ca = {_quoted(tls.ca_file)}")
    if tls.cert_file:
        lines.append(f"  client = [[{_quoted(tls.cert_file)}, {_quoted(tls.key_file)}]]")
    if tls.insecure_skip_verify:
        lines.append("  skip_verify = true")
    return lines


def _mirror(name: str, value: Mapping[str, Any]) -> Mirror:
    _known(value, f"mirrors.{name}", {"endpoint", "rewrite"})
    endpoints, rewrites = value.get("endpoint") or (), value.get("rewrite") or {}
    if isinstance(endpoints, str):
        raise BadRegistries(f"mirrors.{name}.endpoint is a list, not a text: write - {endpoints}")
    return Mirror(tuple(endpoints), _prefix(name, rewrites))


def _prefix(name: str, rewrites: Mapping[str, str]) -> str:
    """containerd knows no regular expressions here; what people use them for, a prefix before everything, can be said as a path."""
    if not rewrites:
        return ""
    pattern, to = next(iter(rewrites.items()))
    simple = re.fullmatch(r"([^$\\]*?)/\$1", to)
    if len(rewrites) > 1 or pattern.removeprefix("^").removesuffix("$") not in ("(.*)", "(.+)") or simple is None:
        raise BadRegistries(f'mirrors.{name}.rewrite: only a prefix for all is possible, "^(.*)$": "some/prefix/$1"; not {dict(rewrites)}')
    return simple.group(1).strip("/")


def _rewritten(url: str, prefix: str) -> str:
    if not prefix:
        return url
    path = urlsplit(url).path.rstrip("/") or "/v2"
    return urlunsplit((*urlsplit(url)[:2], f"{path}/{prefix}", "", ""))


def _host(name: str, value: Mapping[str, Any]) -> Host:
    _known(value, f"configs.{name}", {"auth", "tls"})
    auth, tls = value.get("auth"), value.get("tls")
    if auth is not None:
        _known(auth, f"configs.{name}.auth", {"username", "password", "auth", "identity_token"})
    if tls is not None:
        _known(tls, f"configs.{name}.tls", {field.name for field in attrs.fields(Tls)})
    server = f"https://{_server_host(name)}"
    return Host(RegistryAuth(**auth, server=server) if auth else None, Tls(**tls) if tls else None)


def _known(value: Mapping[str, Any], where: str, names: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise BadRegistries(f"{where} has the form key: value")
    unknown = sorted(set(value) - names)
    if unknown:
        raise BadRegistries(f"{where} has unknown keys {unknown}; known are {sorted(names)}")


def _url(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _server_host(registry: str) -> str:
    return urlsplit(_UPSTREAMS.get(registry, f"https://{registry}")).netloc


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
