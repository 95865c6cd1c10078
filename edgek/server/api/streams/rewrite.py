"""What a proxy has to change in what it passes on, as values: names of what is proxied, paths, links. Upstream's rules, and nothing here waits."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit, urlunsplit

import attrs

# Attributes of HTML that hold a link. No tag is looked for beyond the next one's beginning: the page is somebody else's, and may end none.
_LINKS = re.compile(
    rb"""(<[a-zA-Z][^<>]*?\s(?:action|background|cite|classid|codebase|data|formaction|href|icon|longdesc|manifest|poster|profile|src|usemap)\s*=\s*)"""
    rb"""("[^"]*"|'[^']*')"""
)


@attrs.frozen
class Target:
    """``[scheme:]name[:port]``."""

    name: str
    scheme: str = ""
    port: str = ""


def target(text: str) -> Target | None:
    """None for what is no such name."""
    parts = text.split(":")
    match parts:
        case [name]:
            found = Target(name)
        case [name, port]:
            found = Target(name, port=port)
        case [scheme, name, port]:
            found = Target(name, scheme, port)
        case _:
            return None
    return found if found.name and found.scheme in ("", "http", "https") else None


@attrs.frozen
class Place:
    """Where clients see what is proxied: ``prefix`` is the path up to and with ``/proxy``."""

    scheme: str
    host: str
    prefix: str

    def link(self, link: str, backend: str) -> str:
        """A link that the backend made, as a client can follow it, by whatever name it calls us. Links to other hosts, and relative ones, stay."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        elsewhere = parts.netloc and parts.netloc not in (backend, self.host)
        if elsewhere or not parts.path.startswith("/"):
            return link
        path = parts.path
        if not path.startswith(self.prefix):
            path = posixpath.normpath(self.prefix + path) + ("/" if path.endswith("/") else "")
        scheme, host = (parts.scheme, parts.netloc) if parts.netloc == self.host else ("", "")
        return urlunsplit((scheme, host, path, parts.query, parts.fragment))

    def page(self, html: bytes, backend: str) -> bytes:
        """All links of a page."""

        def moved(match: re.Match[bytes]) -> bytes:
            before, quoted = match.groups()
            link = quoted[1:-1].decode("latin-1")
            return bytes(before) + quoted[:1] + self.link(link, backend).encode("latin-1") + quoted[-1:]

        return _LINKS.sub(moved, html)


def backend_path(raw: str, *, namespaced: bool) -> tuple[str, str]:
    """The proxy's own path and the backend's, of a request's path as it was sent. The second is empty without even a slash."""
    parts = raw.split("/")
    own = 8 if namespaced else 6  # /api/v1/namespaces/NS/pods/NAME/proxy, /api/v1/nodes/NAME/proxy
    prefix, rest = "/".join(parts[:own]), parts[own:]
    return prefix, "/" + "/".join(rest) if rest else ""
