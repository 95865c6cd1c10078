"""hostPath: what is there must be what the pod says, and only what may be made is made."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edgek.agent.kubelet.volumes.host_path import CHECKS, check
from edgek.agent.kubelet.volumes.volume import VolumeFailed


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """One of each sort that everybody can make."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    listener.bind("socket")
    listener.close()
    return {"Directory": tmp_path / "folder", "File": tmp_path / "file", "Socket": tmp_path / "socket", "CharDevice": Path("/dev/null")}


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_each_type_takes_what_it_names_and_refuses_everything_else(there: dict[str, Path], kind: str) -> None:
    for sort, path in there.items():
        if kind.removesuffix("OrCreate") == sort:
            check(path, kind)
        else:
            with pytest.raises(VolumeFailed, match=r"hostPath type check failed: .* is not a|File exists"):
                check(path, kind)
    assert there["File"].read_text() == "kept"


@pytest.mark.root
def test_a_block_device_is_one(tmp_path: Path) -> None:
    os.mknod(tmp_path / "disk", 0o60600, os.makedev(7, 0))
    check(tmp_path / "disk", "BlockDevice")
    with pytest.raises(VolumeFailed, match="is not a character device"):
        check(tmp_path / "disk", "CharDevice")


def test_what_may_be_made_is_made_and_a_file_only_where_its_folder_is(tmp_path: Path) -> None:
    check(tmp_path / "a" / "b", "DirectoryOrCreate")
    check(tmp_path / "a" / "file", "FileOrCreate")
    check(tmp_path / "unsaid" / "c", "")
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "a" / "file").read_bytes() == b""
    assert (tmp_path / "unsaid" / "c").is_dir()
    for kind, path in (("FileOrCreate", tmp_path / "no" / "file"), ("Directory", tmp_path / "none"), ("Nonsense", tmp_path)):
        with pytest.raises(VolumeFailed):
            check(path, kind)
    assert not (tmp_path / "no").exists()
