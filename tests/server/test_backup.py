"""A server in one file, and back."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.model.credentials import JoinToken
from edgek.model.errors import UsageError
from edgek.server import backup, pki
from edgek.server.store.sqlite import SqliteBackend
from tests.server.store.drafts import draft, key


async def fill(server_dir: Path, *names: str) -> int:
    """A server as its first start leaves it, with these pods; the last revision."""
    (server_dir / "db").mkdir(parents=True, exist_ok=True)
    keys = pki.open_keys(server_dir / "tls", ["localhost"])
    pki.open_token(server_dir / "token", keys)
    async with SqliteBackend.open(server_dir / "db" / "state.db") as store:
        for name in names:
            await store.create(key(name), draft())
        return store.revision


async def pods(server_dir: Path) -> tuple[list[str], int]:
    async with SqliteBackend.open(server_dir / "db" / "state.db") as store:
        return [record.key.name for record in store.list("pods").records], store.revision


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
async def test_a_fresh_machine_becomes_the_server_it_was_made_of(tmp_path: Path, passphrase: str) -> None:
    old, new, file = tmp_path / "old" / "server", tmp_path / "new" / "server", tmp_path / "file"
    last = await fill(old, "a", "b")
    backup.make(old, file, passphrase)
    await fill(old, "later")
    assert backup.restore(new, file, passphrase) is None
    names, revision = await pods(new)
    assert names == ["a", "b"]
    assert revision > last + 1_000_000_000, "whoever saw a later revision must list again"
    assert (new / "token").read_text() == (old / "token").read_text()
    assert pki.open_keys(new / "tls", ["localhost"]).admin == pki.open_keys(old / "tls", ["localhost"]).admin
    assert names_in(tmp_path / "new") == ["server"]


async def test_all_of_it_is_for_root_alone(tmp_path: Path) -> None:
    await fill(tmp_path / "server", "a")
    backup.make(tmp_path / "server", tmp_path / "file")
    backup.restore(tmp_path / "new" / "server", tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    for path in (tmp_path / "new" / "server").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_one_is_made_while_the_server_runs(tmp_path: Path) -> None:
    server_dir = tmp_path / "server"
    await fill(server_dir, "a")
    async with SqliteBackend.open(server_dir / "db" / "state.db") as store:
        await store.create(key("b"), draft())
        backup.make(server_dir, tmp_path / "file")
        with pytest.raises(UsageError, match="another edgek is running"):
            backup.restore(server_dir, tmp_path / "file")
    assert not list(server_dir.glob(".backup-*"))
    backup.restore(tmp_path / "new", tmp_path / "file")
    assert (await pods(tmp_path / "new"))[0] == ["a", "b"]


async def test_what_was_there_moves_aside(tmp_path: Path) -> None:
    server_dir = tmp_path / "server"
    await fill(server_dir, "a")
    backup.make(server_dir, tmp_path / "file")
    await fill(server_dir, "b")
    former = backup.restore(server_dir, tmp_path / "file")
    assert former is not None
    assert (await pods(server_dir))[0] == ["a"]
    assert (await pods(former))[0] == ["a", "b"]


async def test_without_the_passphrase_it_stays_shut(tmp_path: Path) -> None:
    await fill(tmp_path / "server", "a")
    backup.make(tmp_path / "server", tmp_path / "file", "correct horse")
    token = JoinToken.parse((tmp_path / "server" / "token").read_text().strip())
    assert token.secret.encode() not in (tmp_path / "file").read_bytes()
    with pytest.raises(UsageError, match="give --passphrase-file"):
        backup.read(tmp_path / "file")
    with pytest.raises(UsageError, match="another passphrase"):
        backup.restore(tmp_path / "new", tmp_path / "file", "wrong")
    assert not (tmp_path / "new").exists()


def _changed(file: Path, change: str) -> None:
    """Once more what it holds, with something wrong."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(file.read_bytes()))) as archive, tarfile.open(fileobj=out, mode="w") as fresh:
        for member in archive:
            content = archive.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == "token":
                if change == "missing":
                    continue
                if change == "other content":
                    content = b"x" * len(content)
                if change == "outside":
                    member.name = "../token"
            fresh.addfile(member, io.BytesIO(content))
    file.write_bytes(gzip.compress(out.getvalue()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("missing", "lacks token"),
        ("other content", "token in .* is damaged"),
        ("outside", "which it does not name"),
        ("cut off", "cannot be read"),
        ("no backup", "cannot be read"),
    ],
)
async def test_a_file_with_something_wrong_changes_nothing(tmp_path: Path, change: str, said: str) -> None:
    server_dir, file = tmp_path / "server", tmp_path / "file"
    await fill(server_dir, "a")
    backup.make(server_dir, file)
    match change:
        case "cut off":
            file.write_bytes(file.read_bytes()[:-2000])
        case "no backup":
            file.write_bytes(b"something else")
        case _:
            _changed(file, change)
    before = names_in(tmp_path)
    with pytest.raises(UsageError, match=said):
        backup.restore(server_dir, file)
    assert (await pods(server_dir))[0] == ["a"]
    assert names_in(tmp_path) == before


def test_where_there_is_no_server_there_is_nothing_to_back_up(tmp_path: Path):
    with pytest.raises(UsageError, match="holds no server"):
        backup.make(tmp_path, tmp_path / "file")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
async def test_a_full_disk_is_not_taken_for_a_bad_backup(tmp_path: Path, small: Path) -> None:
    file = tmp_path / "file"
    await fill(tmp_path / "old" / "server", "a")
    backup.make(tmp_path / "old" / "server", file)
    with pytest.raises(UsageError, match=r"cannot be laid out below .*: No space left on device; make room there"):
        backup.restore(small / "server", file)
    assert names_in(small) == []
