"""``install.sh`` and ``uninstall.sh`` where they write: below an overlay of this machine that goes with the test. What they install stands in for edgek.

The real thing, with systemd and the real edgek, is installed in the emulated machine (tests/e2e/test_machine.py).
"""

from __future__ import annotations

import pytest

from tests.packaging.box import TOKEN, URL, Box

pytestmark = pytest.mark.root


def test_with_a_url_and_a_token_it_installs_an_agent(box: Box) -> None:
    said = box.install("--node-name far", EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    assert "Node far of https://192.0.2.1:6443: it is Ready" in said
    assert "sudo edgek kubectl get nodes" in said
    started = box.started()
    assert started[0] == "ARGUMENTS agent --node-name far"
    assert {f"EDGEK_URL={URL}", f"EDGEK_TOKEN={TOKEN}"} <= set(started)


def test_the_token_is_kept_for_root_alone_and_stands_in_no_command_line(box: Box) -> None:
    box.install(f"--join {URL} --token={TOKEN}")
    assert box.run("stat -c %a /etc/edgek/edgek.env").strip() == "600"
    assert TOKEN in box.run("cat /etc/edgek/edgek.env")
    assert TOKEN not in box.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert box.started()[0] == "ARGUMENTS agent"


def test_installing_an_agent_twice_needs_the_token_once(box: Box) -> None:
    box.install(EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    box.run("rm /run/edgek-was-started /var/lib/edgek/agent/cluster.json")
    box.install("agent --node-label a=b")
    started = box.started()
    assert started[0] == "ARGUMENTS agent --node-label a=b"
    assert {f"EDGEK_URL={URL}", f"EDGEK_TOKEN={TOKEN}"} <= set(started)
    assert box.run("pgrep -fc '^sleep 600$'").strip() == "1", "one agent runs"


def test_the_configuration_file_may_name_the_server(box: Box) -> None:
    box.run(f"printf 'join: {URL}\\ntoken: {TOKEN}\\n' >/etc/edgek/config.yaml")
    assert "This machine is a node" in box.install()


def test_without_a_url_it_installs_a_server(box: Box) -> None:
    assert " is Ready after" in box.install("--node-label 'a=b c'", EDGEK_LOG_LEVEL="debug")
    assert box.started()[0] == "ARGUMENTS server --node-label a=b c"
    assert "EDGEK_LOG_LEVEL=debug" in box.started()


@pytest.mark.parametrize("missing", ["EDGEK_URL", "EDGEK_TOKEN"])
def test_an_agent_without_what_it_needs_is_refused_before_anything_is_installed(box: Box, missing: str) -> None:
    given = {"EDGEK_URL": URL, "EDGEK_TOKEN": TOKEN}
    del given[missing]
    assert missing in box.install("agent", code=1, **given)
    box.run("test ! -e /usr/local/bin/edgek && test ! -e /etc/edgek/edgek.env")


def test_a_server_does_not_become_an_agent_by_the_way(box: Box) -> None:
    box.install()
    assert "sudo edgek-uninstall" in box.install(code=1, EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    assert box.started()[0] == "ARGUMENTS server"


def test_an_agent_does_not_become_a_server_by_the_way(box: Box) -> None:
    box.install(EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    said = box.install(code=1)
    assert "sudo edgek-uninstall" in said
    assert f"an agent of {URL}" in said


def test_an_agent_that_is_refused_is_stopped_and_says_why(box: Box) -> None:
    box.run("echo refused >/etc/edgek/scene")
    assert "the token is not this cluster's" in box.install(code=1, EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    box.run("test ! -e /run/edgek-supervisor.pid")
    box.run("rm /etc/edgek/scene")
    assert "it is Ready" in box.install("agent"), "what it said before does not count"


def test_an_agent_whose_server_is_away_says_what_it_waits_for_and_goes_on(box: Box) -> None:
    box.run("echo away >/etc/edgek/scene")
    said = box.install(code=1, EDGEK_URL=URL, EDGEK_TOKEN=TOKEN, EDGEK_READY_TIMEOUT="2")
    assert "Waiting: WARNING cannot join yet" in said
    assert "it goes on trying" in said
    box.run("/usr/local/lib/edgek/supervise.sh status")


def test_uninstalling_takes_an_agent_away_and_says_what_the_cluster_still_knows(box: Box) -> None:
    box.install("--node-name far", EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    said = box.run("edgek-uninstall")
    assert "sudo edgek node forget far" in said
    for path in ("/usr/local/bin/edgek", "/usr/local/lib/edgek", "/etc/edgek", "/var/lib/edgek", "/var/log/edgek.log"):
        box.run(f"test ! -e {path}")
    assert box.run("pgrep -fc '^sleep 600$'", code=1).strip() == "0"
    assert " is Ready after" in box.install(), "it may be a server now"


def test_uninstalling_goes_by_what_the_service_was_given(box: Box) -> None:
    box.install(EDGEK_URL=URL, EDGEK_TOKEN=TOKEN, EDGEK_DATA_DIR="/var/lib/elsewhere")
    box.run("mkdir -p /var/lib/elsewhere/agent && touch /var/lib/edgek/of-somebody-else")
    box.run("edgek-uninstall")
    box.run("test ! -e /var/lib/elsewhere && test -e /var/lib/edgek/of-somebody-else")


def test_data_that_was_kept_says_what_the_machine_was(box: Box) -> None:
    box.install(EDGEK_URL=URL, EDGEK_TOKEN=TOKEN)
    box.run("edgek-uninstall --keep-data")
    said = box.install("server", code=1)
    assert f"an agent of {URL}" in said
    assert "/packaging/uninstall.sh` takes it away" in said
    box.install("agent")
    assert f"EDGEK_TOKEN={TOKEN}" in box.started()
