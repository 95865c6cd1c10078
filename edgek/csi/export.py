"""Exports of file servers, and what is said of a volume on one: by a StorageClass, by a volume's id, by its context. Values only.

The parameters are those of csi-driver-nfs, so that StorageClasses carry over: ``server``, ``share``, ``subDir``, ``mountPermissions``, ``onDelete``,
in any case, and the patterns ``${pvc.metadata.name}``, ``${pvc.metadata.namespace}``, ``${pv.metadata.name}`` in ``subDir``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import attrs

from edgek.csi.driver import BadRequest
from edgek.csi.folders import HIDDEN

OF_KUBERNETES = "csi.storage.k8s.io/"  # parameters that tell whose volume it is
PATTERNS = {
    "${pvc.metadata.name}": OF_KUBERNETES + "pvc/name",
    "${pvc.metadata.namespace}": OF_KUBERNETES + "pvc/namespace",
    "${pv.metadata.name}": OF_KUBERNETES + "pv/name",
}
KNOWN = frozenset({"server", "share", "subdir", "mountpermissions", "ondelete"})
ON_DELETE = ("delete", "retain", "archive")
ANY_USER = 0o777
# Mount options without which a server may not be reached at all: they are kept in ids. Others are how a pod wants it.
REACHING = frozenset({"vers", "nfsvers", "minorversion", "proto", "port", "mountproto", "mountport", "mountvers", "mounthost", "sec"})

_SEPARATOR = "#"
_SERVER = re.compile(r"[A-Za-z0-9.:_%\[\]][A-Za-z0-9.:_%\[\]-]*")


@attrs.frozen
class Export:
    """``options``: see REACHING, with commas."""

    server: str
    share: str
    options: str = ""

    def id_of(self, name: str) -> str:
        """Of what is called ``name`` there: a volume's id, or a snapshot's."""
        return _SEPARATOR.join((self.server, self.share, self.options, name))

    def path_of(self, folder: str) -> str:
        return str(PurePosixPath(self.share) / folder)


def read_id(id_: str) -> tuple[Export, str] | None:
    """None when it is none of ours."""
    parts = id_.split(_SEPARATOR)
    if len(parts) != 4 or not parts[3]:
        return None
    try:
        return export_of(parts[0], parts[1], parts[2].split(",")), parts[3]
    except BadRequest:
        return None


def export_of(server: str, share: str, flags: Iterable[str] = ()) -> Export:
    """Raises BadRequest."""
    if not server:
        raise BadRequest("server is a required parameter")
    if not share:
        raise BadRequest("share is a required parameter")
    if not _SERVER.fullmatch(server):
        raise BadRequest(f"server {server!r} is no host name and no address")
    path = PurePosixPath(share)
    if not path.is_absolute() or ".." in path.parts or _SEPARATOR in share or not share.isprintable():
        raise BadRequest(f"share {share!r} is no absolute path, or has '..' or '#' in it")
    words = [word for flag in flags for word in flag.split(",")]
    return Export(server, "/" + str(path).strip("/"), ",".join(sorted(word for word in words if word.partition("=")[0] in REACHING)))


@attrs.frozen
class Asked:
    """What a StorageClass says. ``folder`` is empty where it leaves that to us."""

    export: Export
    folder: str
    on_delete: str
    mode: int
    words: Mapping[str, str]  # its parameters, but for where it is: that of a volume which must not change


def read_class(parameters: Mapping[str, str], default: Export | None, flags: Iterable[str] = ()) -> Asked:
    """Raises BadRequest."""
    found = {key.lower(): value for key, value in parameters.items() if not key.startswith(OF_KUBERNETES)}
    for key in parameters:
        if key.lower() not in KNOWN and not key.startswith(OF_KUBERNETES):
            raise BadRequest(f"invalid parameter {key!r} in storage class; these are known: server, share, subDir, mountPermissions, onDelete")
    on_delete = found.get("ondelete", "").lower() or "delete"
    if on_delete not in ON_DELETE:
        raise BadRequest(f"invalid value {found['ondelete']} for OnDelete, supported values are {', '.join(ON_DELETE)}")
    return Asked(
        _export(found, default, flags),
        folder_of(found.get("subdir", ""), parameters),
        on_delete,
        _mode(found.get("mountpermissions", "")),
        {key: value for key, value in found.items() if key not in ("server", "share")},
    )


def _export(found: Mapping[str, str], default: Export | None, flags: Iterable[str]) -> Export:
    server, share = found.get("server", ""), found.get("share", "")
    if default is not None and not server and not share:
        server, share = default.server, default.share
    return export_of(server, share, flags)


def _mode(text: str) -> int:
    try:
        mode = int(text or "0", 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise BadRequest(f"invalid mountPermissions {text} in storage class; it is an octal number such as 0750")
    return mode or ANY_USER


def folder_of(pattern: str, parameters: Mapping[str, str]) -> str:
    """Below the export. Raises BadRequest for one that would leave it."""
    folder = pattern
    for word, name in PATTERNS.items():
        if word in folder:
            if not parameters.get(name):
                raise BadRequest(f"subDir {pattern!r} needs the parameter {name}, which whoever makes the volume did not send")
            folder = folder.replace(word, parameters[name])
    if "${" in folder:
        raise BadRequest(f"subDir {pattern!r} has a pattern that is none of {', '.join(PATTERNS)}")
    parts = PurePosixPath(folder.strip("/")).parts
    if ".." in parts or HIDDEN in parts[:1] or not folder.isprintable():
        raise BadRequest(f"subDir {folder!r} does not lie below the share, or is ours")
    return "/".join(parts)
