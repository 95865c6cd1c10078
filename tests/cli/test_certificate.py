"""What ``edgek certificate check`` says of the files of a machine, without a server that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgek.cli import certificate
from edgek.host import pki as host_pki
from edgek.host import wallclock
from edgek.host.pki import Subject
from edgek.model import credentials
from edgek.server import certificates, pki
from edgek.server.pki import Keys


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    monkeypatch.setenv("EDGEK_CONFIG", str(tmp_path / "none.yaml"))
    (tmp_path / "none.yaml").write_text("")
    keys = pki.open_keys(tmp_path / "data" / "server" / "tls", ["localhost"])
    write_kubeconfig(tmp_path, keys)
    return keys


def write_kubeconfig(folder: Path, keys: Keys) -> None:
    text = credentials.kubeconfig("https://127.0.0.1:6443", keys.server_authorities, keys.admin.certificate, keys.admin.key)
    (folder / "kubeconfig").write_text(text)


def checked(folder: Path, capsys: pytest.CaptureFixture[str], code: int = 0, output: str = "json") -> str:
    capsys.readouterr()
    flags = ["--data-dir", str(folder / "data"), "--write-kubeconfig", str(folder / "kubeconfig")]
    assert certificate.main(["check", "-o", output, *flags]) == code
    return capsys.readouterr().out


def verdicts(folder: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(checked(folder, capsys, code))
    return {entry["name"]: entry["verdict"] for entry in found}


def test_a_fresh_server_has_nothing_but_good_ones(keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdicts(tmp_path, capsys) == dict.fromkeys(
        ["server-ca", "client-ca", "request-header-ca", "api-server", "admin", "admin's kubeconfig"], "good"
    )
    table = checked(tmp_path, capsys, output="text")
    assert "edgek-apiserver" in table
    assert "system:admin" in table
    assert wallclock.rfc3339(keys.serving.not_after) in table


@pytest.mark.parametrize(("days", "verdict", "code"), [(300, "due", 0), (366, "ended", 1)])
def test_what_runs_out_is_named_and_what_has_ended_is_the_exit_code(
    keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str], days: int, verdict: str, code: int
) -> None:
    real = wallclock.use(lambda: real() + days * host_pki.DAY_S)
    try:
        found = json.loads(checked(tmp_path, capsys, code))
    finally:
        wallclock.use(real)
    by_name = {entry["name"]: entry for entry in found}
    assert (by_name["api-server"]["verdict"], by_name["admin"]["verdict"], by_name["server-ca"]["verdict"]) == (verdict, verdict, "good")
    assert by_name["admin"]["daysLeft"] == 365 - days - 1
    assert by_name["admin"]["issuer"].startswith("edgek-client-ca@")


def test_former_authorities_are_shown_as_such(keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificates.rotate_authorities(keys.folder)
    write_kubeconfig(tmp_path, pki.open_keys(keys.folder, ["localhost"]))
    found = verdicts(tmp_path, capsys)
    assert [name for name, verdict in found.items() if verdict == "former"] == [
        "server-ca (former)",
        "client-ca (former)",
        "request-header-ca (former)",
    ]
    assert found["api-server"] == "good"


def test_what_none_here_has_signed_and_what_cannot_be_read_is_no_good(keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host_pki.save(pki.admin_path(keys.folder), host_pki.issue(host_pki.make_authority("another"), Subject("system:admin")))
    pki.serving_path(keys.folder).write_text("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
    found = verdicts(tmp_path, capsys, code=1)
    assert (found["admin"], found["api-server"], found["client-ca"]) == ("signed by none here", "unreadable", "good")


def test_an_agents_certificates_are_held_against_its_own_authorities(keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = tmp_path / "data" / "agent"
    agent.mkdir()
    host_pki.save(agent / "client.pem", keys.issue(pki.node("far")))
    host_pki.save(agent / "serving.pem", keys.issue(pki.node_server("far", ["192.0.2.1"])))
    (agent / "server-ca.crt").write_bytes(keys.server_authorities)
    found = verdicts(tmp_path, capsys, code=1)
    assert found["kubelet (serving)"] == "good"
    assert (found["agent's client-ca"], found["kubelet (client)"]) == ("unreadable", "signed by none here")
    (agent / "client-ca.crt").write_bytes(keys.node_authorities)
    assert set(verdicts(tmp_path, capsys).values()) == {"good"}
