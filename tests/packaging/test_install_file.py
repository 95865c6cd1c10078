"""``install.sh`` with the one file, on a box that goes with the test: a real launcher with something behind it that stands in for edgek."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.packaging.box import EDGEK, REPOSITORY, TOKEN, URL, Box
from tests.packaging.onefile import make_tree, pack, release

pytestmark = pytest.mark.root

NEVER_READY = EDGEK.replace(
    "server | agent)\n", "server | agent)\n    rm -f /run/edgek-was-started; echo 'it hangs'; echo $$ >/run/edgek/edgek.pid; exec sleep 600\n"
)
ENDS_AT_ONCE = EDGEK.replace("server | agent)\n", "server | agent)\n    echo 'ERROR cannot start reason=\"no good\"'; exit 2\n")
TRACEBACK = 'Traceback (most recent call last):\n  File "/x.py", line 1, in main\n  | ValueError: no such thing: 7\n  +-----'
CRASHES = EDGEK.replace("server | agent)\n", f"server | agent)\n    printf '{TRACEBACK}'; exit 1\n")
PLACES = "ls -d /usr/local/bin/edgek /usr/local/lib/edgek /var/lib/edgek /etc/edgek/edgek.env 2>/dev/null || true"
DOES_NOT_RUN = "#!/bin/sh\necho 'libsomething.so is missing' >&2\nexit 127\n"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "key.pem")


def make_key(file: Path) -> Path:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True, capture_output=True)
    return file


class Dist:
    """The folder that a build leaves behind."""

    def __init__(self, folder: Path, launcher: Path, key: Path) -> None:
        self.folder, self.launcher, self.key = folder, launcher, key

    def build(self, version: str, edgek: str = EDGEK, *, key: Path | None = None) -> Path:
        tree = make_tree(self.folder / f"tree-{version}", edgek.replace("VERSION", version))
        (tree / "share").mkdir()
        for name in ("uninstall.sh", "supervise.sh"):
            (tree / "share" / name).write_bytes((REPOSITORY / "packaging" / name).read_bytes())
            (tree / "share" / name).chmod(0o755)
        release.write_installer(REPOSITORY / "packaging" / "install.sh", tree / "share" / "install.sh", release.public_key(self.key))
        file = self.folder / "dist" / f"edgek-{version}-linux-amd64"
        pack(tree, self.launcher, file)
        release.prepare(file, tree / "share" / "install.sh", key or self.key)
        return file

    @property
    def installer(self) -> Path:
        return self.folder / "dist" / "install.sh"


@pytest.fixture
def dist(tmp_path_factory: pytest.TempPathFactory, launcher: Path, key: Path) -> Dist:
    return Dist(tmp_path_factory.mktemp("dist"), launcher, key)


def version(box: Box) -> str:
    return box.run("edgek --version").strip()


def process(box: Box) -> str:
    return box.run("cat /run/edgek/edgek.pid").strip()


def upgrade(box: Box, file: Path, *, code: int = 0, **variables: str) -> str:
    """As ``edgek upgrade`` does it."""
    script = box.run("edgek internal-tool share").strip() + "/install.sh"
    given = {"INSTALL_EDGEK_FILE": str(file), "INSTALL_EDGEK_KEEP_FLAGS": "1", "EDGEK_READY_TIMEOUT": "6", **variables}
    return box.run(f"sh {script} server", code=code, **given)


def test_a_folder_installs_its_newest_version_with_nothing_of_the_machine(box: Box, dist: Dist) -> None:
    for each in ("0.9.0", "0.10.0"):
        dist.build(each)
    said = box.run(f"{dist.installer} --node-label a=b", HTTPS_PROXY="http://192.0.2.9:3128")
    assert "Checksum and signature are right" in said
    assert " is Ready after" in said
    assert version(box) == "edgek 0.10.0"
    assert box.started()[0] == "ARGUMENTS server --node-label a=b"
    assert "HTTPS_PROXY='http://192.0.2.9:3128'" in box.run("cat /etc/edgek/edgek.env")
    assert "Installing" not in said, "no package, no Python"


def test_an_agent_is_installed_by_the_same_line(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    assert "This machine is a node" in box.run(str(dist.installer), EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    assert box.started()[0] == "ARGUMENTS agent"


def test_it_can_be_fetched(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    outside = dist.folder / "install.sh"
    outside.write_bytes(dist.installer.read_bytes())
    box.run(f"sh {outside}", INSTALL_EDGEK_URL=f"file://{dist.folder}/dist", INSTALL_EDGEK_VERSION="1.0")
    assert version(box) == "edgek 1.0"
    assert "cannot fetch" in box.run(f"sh {outside}", code=1, INSTALL_EDGEK_URL=f"file://{dist.folder}/dist", INSTALL_EDGEK_VERSION="9")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("one byte", "it is damaged, or was changed"),
        ("cut off", "it is damaged, or was changed"),
        ("one byte, and a new checksum", "was not signed by the one"),
        ("another signer", "was not signed by the one"),
        ("no signature", "sha256.sig is missing"),
        ("no checksum", "sha256 is missing"),
        ("another machine", "is for another kind of machine"),
        ("no program", "is no program"),
    ],
)
def test_what_is_not_as_it_was_given_away_is_refused_and_the_old_version_runs_on(
    box: Box, dist: Dist, tmp_path_factory: pytest.TempPathFactory, harm: str, said: str
) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    before = process(box)
    file = dist.build("2.0", key=make_key(tmp_path_factory.mktemp("other") / "key.pem") if harm == "another signer" else None)
    spoil(file, harm)
    assert said in upgrade(box, file, code=1)
    assert version(box) == "edgek 1.0"
    assert process(box) == before


def spoil(file: Path, harm: str) -> None:
    content = bytearray(file.read_bytes())
    match harm:
        case "one byte" | "one byte, and a new checksum":
            content[-400] ^= 1
        case "cut off":
            del content[-1000:]
        case "another machine":
            content[18] = 183
        case "no program":
            content[:4] = b"#!/b"
        case "no signature":
            Path(f"{file}.sha256.sig").unlink()
        case "no checksum":
            Path(f"{file}.sha256").unlink()
    file.write_bytes(content)
    if harm == "one byte, and a new checksum":
        Path(f"{file}.sha256").write_text(f"{release.archive.digest(file)}  {file.name}\n")


def test_without_a_known_signer_it_says_what_may_be_given(box: Box, dist: Dist, key: Path) -> None:
    file = dist.build("1.0")
    plain = REPOSITORY / "packaging" / "install.sh"
    assert "give INSTALL_EDGEK_PUBLIC_KEY" in box.run(str(plain), code=1, INSTALL_EDGEK_FILE=str(file))
    box.run(str(plain), INSTALL_EDGEK_FILE=str(file), INSTALL_EDGEK_PUBLIC_KEY=release.public_key(key))
    assert version(box) == "edgek 1.0"


def test_a_signature_may_be_passed_over_where_that_is_said(box: Box, dist: Dist) -> None:
    file = dist.build("1.0")
    Path(f"{file}.sha256.sig").unlink()
    assert "not looked at, as asked" in box.run(str(dist.installer), INSTALL_EDGEK_SKIP_SIGNATURE="1")


def test_an_upgrade_keeps_the_flags(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --node-label a=b", EDGEK_LOG_LEVEL="debug")
    before = process(box)
    upgrade(box, dist.build("2.0"))
    assert version(box) == "edgek 2.0"
    assert process(box) != before
    assert box.started()[0] == "ARGUMENTS server --node-label a=b"
    assert "EDGEK_LOG_LEVEL=debug" in box.started()
    assert len(box.run("ls /var/lib/edgek/dist").split()) == 1, "the former version's files are gone"


@pytest.mark.parametrize(("worse", "said"), [(NEVER_READY, "it was not Ready within 6 s"), (ENDS_AT_ONCE, "it gave up")])
def test_a_version_that_does_not_come_up_is_taken_back(box: Box, dist: Dist, worse: str, said: str) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --node-label a=b")
    answer = upgrade(box, dist.build("2.0", worse), code=1)
    assert said in answer
    assert "edgek 1.0 runs again" in answer
    assert version(box) == "edgek 1.0"
    assert box.started()[0] == "ARGUMENTS server --node-label a=b"
    assert "the API is healthy" in box.run("edgek status")


def test_flags_that_the_new_version_does_not_survive_are_taken_back_with_it(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --node-label a=b", EDGEK_LOG_LEVEL="debug")
    dist.build("2.0", ENDS_AT_ONCE)
    box.run(f"{dist.installer} --node-label c=d", code=1, EDGEK_LOG_LEVEL="error")
    assert "EDGEK_LOG_LEVEL='debug'" in box.run("cat /etc/edgek/edgek.env")
    assert box.started()[0] == "ARGUMENTS server --node-label a=b"


def test_a_version_that_does_not_run_here_changes_nothing(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    before = process(box)
    answer = upgrade(box, dist.build("2.0", DOES_NOT_RUN), code=1)
    assert "libsomething.so is missing" in answer
    assert "nothing was changed" in answer
    assert (version(box), process(box)) == ("edgek 1.0", before)


def test_a_machine_that_is_not_fit_is_left_as_it_was(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run("rm -rf /var/lib/edgek; echo unfit >/etc/edgek/scene")
    answer = box.run(str(dist.installer), code=1)
    assert "no memory controller" in answer
    assert "nothing was changed" in answer
    assert box.run(PLACES) == ""


def test_uninstalling_takes_the_file_and_what_it_unpacked(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    box.run("edgek-uninstall")
    left = box.run("ls -d /usr/local/bin/edgek* /usr/local/bin/ctr /var/lib/edgek /usr/local/lib/edgek 2>/dev/null || true").split()
    assert [path for path in left if path != "/usr/local/bin/ctr"] == []


def test_killall_stops_everything_and_leaves_what_is_installed(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    box.run("edgek-uninstall --stop-only")
    assert box.run("pgrep -fc '^sleep 600$' || true").strip() == "0"
    assert version(box) == "edgek 1.0"
    assert " is Ready after" in box.run(str(dist.installer)), "it starts again"


def test_a_service_that_crashes_is_stopped_and_its_error_named(box: Box, dist: Dist) -> None:
    dist.build("1.0", CRASHES)
    answer = box.run(str(dist.installer), code=1)
    assert "it gave up, so it is stopped" in answer
    assert "ValueError: no such thing: 7" in answer
    box.run("/usr/local/lib/edgek/supervise.sh status", code=1)


def test_a_version_that_crashes_is_taken_back(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    answer = upgrade(box, dist.build("2.0", CRASHES), code=1, EDGEK_READY_TIMEOUT="30")
    assert "it gave up: ValueError: no such thing: 7" in answer
    assert "edgek 1.0 runs again" in answer


def test_what_did_not_change_runs_on(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --node-label a=b")
    before = process(box)
    assert "Nothing changed" in box.run(f"{dist.installer} --node-label a=b")
    assert process(box) == before
    box.run(f"{dist.installer} --node-label a=b", INSTALL_EDGEK_FORCE_RESTART="true")
    again = process(box)
    assert again != before
    box.run(f"{dist.installer} --node-label a=c")
    assert process(box) != again


def test_it_can_be_read_from_a_pipe_with_arguments_after_a_dash(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    where = {"INSTALL_EDGEK_URL": f"file://{dist.folder}/dist", "INSTALL_EDGEK_VERSION": "1.0"}
    said = box.run(f"cat {dist.installer} | sh -s - --node-label c=d", INSTALL_EDGEK_EXEC="server --node-label a=b", **where)
    assert " is Ready after" in said
    assert box.started()[0] == "ARGUMENTS server --node-label a=b --node-label c=d"
    assert "which edgek? Say where it is" in box.run(f"cat {dist.installer} | sh -s -", code=1)


def test_it_can_be_set_up_without_a_start_and_its_service_anew_without_a_file(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    assert "not started, as asked" in box.run(str(dist.installer), INSTALL_EDGEK_SKIP_START="true")
    assert version(box) == "edgek 1.0"
    box.run("test ! -e /run/edgek-was-started && test ! -e /usr/local/lib/edgek/former")
    box.run("edgek-uninstall --keep-data")
    assert "there is no /usr/local/bin/edgek yet" in box.run(str(dist.installer), code=1, INSTALL_EDGEK_SKIP_DOWNLOAD="1")
    box.run(str(dist.installer), INSTALL_EDGEK_SKIP_START="1")
    assert " is Ready after" in box.run(f"{dist.installer} --node-label a=b", INSTALL_EDGEK_SKIP_DOWNLOAD="1", INSTALL_EDGEK_SKIP_START="false")


def test_commands_go_where_they_are_told_and_are_found_there_again(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run("mkdir -p /etc/tools; printf '#!/bin/sh\\necho other' >/etc/tools/ctr")
    box.run(str(dist.installer), INSTALL_EDGEK_BIN_DIR="/etc/tools", INSTALL_EDGEK_SYMLINK="force")
    assert box.run("/etc/tools/edgek --version").strip() == "edgek 1.0"
    assert box.run("readlink /etc/tools/ctr").strip() == "edgek"
    script = box.run("/etc/tools/edgek internal-tool share").strip() + "/install.sh"
    box.run(f"sh {script} server", INSTALL_EDGEK_FILE=str(dist.build("2.0")), INSTALL_EDGEK_KEEP_FLAGS="1")
    assert box.run("/etc/tools/edgek --version").strip() == "edgek 2.0"
    box.run("/etc/tools/edgek-uninstall")
    assert box.run("ls /etc/tools").strip() == ""


@pytest.mark.parametrize(
    ("program", "answer", "said"),
    [
        ("uname", "[ $1 = -m ] && echo armv7l || echo Linux", "there is no edgek for 32 bit (armv7l)"),
        ("uname", "[ $1 = -m ] && echo riscv64 || echo Linux", "there is no edgek for riscv64"),
    ],
)
def test_a_system_that_cannot_run_the_file_is_told_before_anything_is_fetched(box: Box, dist: Dist, program: str, answer: str, said: str) -> None:
    dist.build("1.0")
    box.run(
        f"rm -rf /var/lib/edgek; mkdir /run/stand-ins; printf '#!/bin/sh\\n{answer}\\n' >/run/stand-ins/{program}; chmod +x /run/stand-ins/{program}"
    )
    url = {"INSTALL_EDGEK_URL": f"file://{dist.folder}/dist", "INSTALL_EDGEK_VERSION": "1.0"}
    found = box.run(f"PATH=/run/stand-ins:$PATH {dist.installer}", code=1, **url)
    assert said in found
    assert "Fetching" not in found
    assert box.run(PLACES) == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [("noexec", "allows no programs (noexec): set EDGEK_DATA_DIR to a folder elsewhere"), ("size=100k", "No space left on device")],
    ids=["noexec", "a full disk"],
)
def test_a_place_where_it_cannot_unpack_is_named_and_left_as_it_was(box: Box, dist: Dist, options: str, said: str) -> None:
    dist.build("1.0")
    box.run(f"mount -t tmpfs -o {options} tmpfs /var/lib")
    answer = box.run(str(dist.installer), code=1)
    assert said in answer
    assert "nothing was changed" in answer
    assert box.run(PLACES) == ""
