"""``install.sh`` when it is cut off, interrupted, asked for what cannot be, or not the only one; and whose files go when edgek does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.box import EDGEK, REPOSITORY, Box
from tests.packaging.test_install_file import CRASHES, NEVER_READY, Dist, dist, key, process, upgrade, version

__all__ = ["dist", "key"]  # fixtures

pytestmark = pytest.mark.root

INSTALLED = "ls -d /usr/local/bin/edgek /usr/local/lib/edgek /etc/edgek/edgek.env 2>/dev/null || true"
# An upgrade in the background, and when its file is in place, a signal to it.
STRUCK = """
INSTALL_EDGEK_FILE={file} INSTALL_EDGEK_KEEP_FLAGS=1 sh $(edgek internal-tool share)/install.sh server >/run/said 2>&1 &
until grep -q 'edgek 2.0 is in place' /run/said; do kill -0 $! || exit 9; done
kill -{signal} $(readlink /run/edgek-install)
wait $! || true
cat /run/said
"""
CHOOSY = EDGEK.replace("check)", "check) case $* in *--bogus*) echo 'unrecognized arguments: --bogus'; exit 2 ;; esac;")
BROKEN = EDGEK.replace("check)", "check) exit 139;")


def strike(box: Box, file: Path, signal: str) -> str:
    return box.run(STRUCK.format(file=file, signal=signal))


def test_after_an_upgrade_that_was_cut_off_the_way_back_is_still_the_version_before(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    strike(box, dist.build("2.0", NEVER_READY), "9")
    assert version(box) == "edgek 2.0"
    assert "edgek 1.0 runs again" in upgrade(box, dist.build("3.0", CRASHES), code=1, EDGEK_READY_TIMEOUT="20")
    assert version(box) == "edgek 1.0"


def test_an_upgrade_that_was_cut_off_is_done_by_doing_it_again(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    before, file = process(box), dist.build("2.0")
    strike(box, file, "9")
    assert "Nothing changed" not in upgrade(box, file, EDGEK_READY_TIMEOUT="20"), "what runs may be the former version"
    assert process(box) != before
    box.run("test ! -e /usr/local/lib/edgek/former")


def test_an_upgrade_that_is_interrupted_goes_back(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --node-label a=b")
    assert "going back to the version before" in strike(box, dist.build("2.0", NEVER_READY), "TERM")
    assert version(box) == "edgek 1.0"
    box.run("test ! -e /run/edgek-install && test ! -e /usr/local/bin/.edgek.new && until edgek status; do :; done")
    assert box.started()[0] == "ARGUMENTS server --node-label a=b"


def test_a_terminal_that_goes_away_does_not_matter(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    assert " is Ready after" in strike(box, dist.build("2.0"), "HUP")
    assert version(box) == "edgek 2.0"


def test_only_one_installs_at_a_time_and_one_that_is_gone_holds_up_nobody(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    said = box.run(
        f"sleep 100 & ln -s $! /run/edgek-install; {dist.installer}; code=$?; test $(readlink /run/edgek-install) = $! || code=9; kill $!; exit $code",
        code=1,
    )
    assert "another installation is under way" in said
    assert box.run(INSTALLED) == ""
    assert " is Ready after" in box.run(str(dist.installer))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INSTALL_EDGEK_SYMLINK", "never"),
        ("INSTALL_EDGEK_BIN_DIR", "tools"),
        ("INSTALL_EDGEK_BIN_DIR", "/opt/my tools"),
        ("INSTALL_EDGEK_SKIP_START", "perhaps"),
        ("EDGEK_READY_TIMEOUT", "5m"),
    ],
)
def test_a_value_that_cannot_be_is_named_before_anything_is_done(box: Box, dist: Dist, name: str, value: str) -> None:
    dist.build("1.0")
    assert f"{name}={value}: " in box.run(str(dist.installer), code=1, **{name: value})
    assert box.run(INSTALLED) == ""


@pytest.mark.parametrize(
    ("words", "said"), [("servr", "servr is neither server nor agent"), ("--data-dir", "wants a value"), ("--data-dir here", "here will not do")]
)
def test_arguments_that_cannot_be_are_named_before_anything_is_done(box: Box, dist: Dist, words: str, said: str) -> None:
    dist.build("1.0")
    assert said in box.run(f"{dist.installer} {words}", code=1)
    assert box.run(INSTALLED) == ""


def test_a_signature_is_looked_at_where_passing_it_over_was_denied(box: Box, dist: Dist) -> None:
    Path(f"{dist.build('1.0')}.sha256.sig").unlink()
    assert "sha256.sig is missing" in box.run(str(dist.installer), code=1, INSTALL_EDGEK_SKIP_SIGNATURE="0")


def test_an_openssl_that_cannot_look_at_the_signature_does_not_say_that_it_is_wrong(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run("mkdir /run/old; printf '#!/bin/sh\\nexit 1\\n' >/run/old/openssl; chmod +x /run/old/openssl")
    assert "neither openssl (3.0 or newer) nor" in box.run(f"PATH=/run/old:$PATH {dist.installer}", code=1)


def test_a_key_that_is_none_is_said_to_be_none(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    assert "nonsense is no public key" in box.run(str(dist.installer), code=1, INSTALL_EDGEK_PUBLIC_KEY="nonsense")


def test_flags_that_the_new_version_does_not_take_change_nothing(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    before = process(box)
    dist.build("2.0", CHOOSY)
    said = box.run(f"{dist.installer} --bogus", code=1)
    assert "unrecognized arguments: --bogus" in said
    assert "nothing was changed" in said
    assert (version(box), process(box)) == ("edgek 1.0", before)
    assert len(box.run("ls /var/lib/edgek/dist").split()) == 1, "what was unpacked of it is gone"


def test_a_version_that_cannot_even_look_at_the_machine_is_refused(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(str(dist.installer))
    assert "ended with code 139" in upgrade(box, dist.build("2.0", BROKEN), code=1)
    assert version(box) == "edgek 1.0"


def test_an_upgrade_knows_what_the_service_was_installed_with(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --data-dir '/var/lib/else where' --run-dir=/run/e2 --disable-agent", EDGEK_RUN_DIR="/run/e2")
    said = upgrade(box, dist.build("2.0"))
    assert "the API is healthy" in said
    assert "Running without a node" in said
    assert box.started()[0] == "ARGUMENTS server --data-dir /var/lib/else where --run-dir=/run/e2 --disable-agent"


def test_what_edgek_did_not_make_stays_where_it_goes(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(f"{dist.installer} --data-dir '/var/lib/else where'")
    box.run("mkdir -p /var/lib/else '/var/lib/else where/server'; touch '/var/lib/else where/mine'")
    assert "Left in /var/lib/else where, for edgek did not make it: mine" in box.run("edgek-uninstall")
    box.run("test -d /var/lib/else && test ! -e '/var/lib/else where/server'")


def test_a_disk_of_the_owners_stays_mounted(box: Box, dist: Dist) -> None:
    dist.build("1.0")
    box.run(
        "mkdir -p /var/lib/edgek/agent/images && mount -t tmpfs disk /var/lib/edgek && mkdir -p /var/lib/edgek/agent/images /var/lib/edgek/agent/tmp"
    )
    box.run("mount -t tmpfs disk /var/lib/edgek/agent/images && echo 'disk /var/lib/edgek/agent/images tmpfs defaults 0 0' >>/etc/fstab")
    box.run("mount -t tmpfs ours /var/lib/edgek/agent/tmp")
    box.run(str(dist.installer))
    box.run("edgek-uninstall --stop-only")
    assert box.run("awk '$5 ~ \"^/var/lib/edgek\" {print $5}' /proc/self/mountinfo").split() == ["/var/lib/edgek", "/var/lib/edgek/agent/images"]


def test_both_scripts_say_what_they_are_for_without_root_or_a_machine(box: Box) -> None:
    for name in ("install.sh", "uninstall.sh"):
        assert f"{name.replace('uninstall.sh', 'edgek-uninstall')} [" in box.run(f"sh {REPOSITORY}/packaging/{name} --help")
