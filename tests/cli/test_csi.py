"""What ``edgek csi serve`` refuses before it serves anything."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from edgek.cli import csi
from edgek.model.errors import UsageError

SOCKET = "--endpoint=unix:///run/edgek/csi.sock"
HOSTPATH = ("serve", "--driver=hostpath", SOCKET)
NFS = ("serve", "--driver=nfs", SOCKET)


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--driver=hostpath", "--endpoint=/run/csi.sock", "--root=/srv"), "only unix sockets are served"),
        (("serve", "--driver=hostpath", "--endpoint=unix://run/csi.sock", "--root=/srv"), "only unix sockets are served"),
        (("serve", "--driver=hostpath", "--endpoint=tcp://127.0.0.1:1", "--root=/srv"), "only unix sockets are served"),
        (("serve", "--driver=hostpath", f"--endpoint=unix:///{'x' * 107}", "--root=/srv"), "at most 107 bytes"),
        ((*HOSTPATH,), "needs --root"),
        ((*HOSTPATH, "--root=volumes"), "--root volumes: it must be an absolute path, such as /"),
        ((*HOSTPATH, "--root=/dev/null"), "--root /dev/null is no directory"),
        ((*HOSTPATH, "--root=/dev/null/volumes"), "--root /dev/null/volumes cannot be made: Not a directory"),
        ((*HOSTPATH, "--root=/srv", "--server=files", "--share=/x"), "are for --driver nfs"),
        ((*HOSTPATH, "--root=/srv", "--node-id=a node"), "the value of a label"),
        ((*NFS, "--root=/srv"), "--root is for --driver hostpath"),
        ((*NFS, "--server=files"), "--server and --share say together"),
        ((*NFS, "--share=/exports"), "--server and --share say together"),
        ((*NFS, "--server=files", "--share=exports"), "share 'exports' is no absolute path"),
        ((*NFS, "--server=a,b", "--share=/exports"), "server 'a,b' is no host name"),
    ],
)
def test_a_wrong_argument_is_named(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        csi.main(arguments)


def test_a_root_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(UsageError, match="cannot be written to"):
        csi.main((*HOSTPATH, f"--root={tmp_path}/volumes"))
