from __future__ import annotations

from pathlib import Path

import pytest

from edgek.agent.runtime import registries
from edgek.agent.runtime.runtime import RegistryAuth

FILE = """
mirrors:
  docker.io:
    endpoint:
      - "https://mirror.example:5000"
      - "http://10.0.0.9/v2/hub"
  registry.example:
    endpoint: ["https://mirror.example:5000"]
    rewrite:
      "^(.*)$": "cached/$1"
  "*":
    endpoint: ["https://fallback.example"]
configs:
  "mirror.example:5000":
    auth: {username: robot, password: secret}
    tls: {ca_file: /etc/ca.pem, insecure_skip_verify: true}
  docker.io:
    auth: {auth: Zm9vOmJhcg==}
  quay.example:
    tls: {cert_file: /c.pem, key_file: /k.pem}
"""
ROBOT = RegistryAuth("robot", "secret", server="https://mirror.example:5000")
HUB = RegistryAuth(auth="Zm9vOmJhcg==", server="https://registry-1.docker.io")


@pytest.fixture
def known(tmp_path: Path) -> registries.Registries:
    file = tmp_path / "registries.yaml"
    file.write_text(FILE)
    return registries.load(file)


def test_mirrors_come_in_order_and_the_registry_itself_last(known: registries.Registries) -> None:
    assert registries.hosts_toml(known, "docker.io") == (
        'server = "https://registry-1.docker.io"\n'
        "\n"
        '[host."https://mirror.example:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        '  ca = "/etc/ca.pem"\n'
        "  skip_verify = true\n"
        "\n"
        '[host."http://10.0.0.9/v2/hub"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        "  override_path = true\n"
        "\n"
        '[host."https://registry-1.docker.io"]\n'
        '  capabilities = ["pull", "resolve"]\n'
    )


def test_a_rewrite_that_puts_a_prefix_before_everything_becomes_a_path(known: registries.Registries) -> None:
    assert '[host."https://mirror.example:5000/v2/cached"]' in registries.hosts_toml(known, "registry.example")


def test_every_other_registry_is_containerds_default(known: registries.Registries, tmp_path: Path) -> None:
    registries.write_certs(known, tmp_path / "certs.d")
    assert sorted(path.name for path in (tmp_path / "certs.d").iterdir()) == sorted(
        ["_default", "docker.io", "mirror.example:5000", "quay.example", "registry.example"]
    )
    text = (tmp_path / "certs.d/_default/hosts.toml").read_text()
    assert "server" not in text
    assert "https://fallback.example" in text


def test_a_host_with_its_own_certificate_needs_no_mirror(known: registries.Registries) -> None:
    assert 'client = [["/c.pem", "/k.pem"]]' in registries.hosts_toml(known, "quay.example")


def test_what_is_no_longer_wanted_is_removed_and_what_is_unchanged_is_not_written(known: registries.Registries, tmp_path: Path) -> None:
    registries.write_certs(known, tmp_path)
    file = tmp_path / "docker.io/hosts.toml"
    before = file.stat().st_ino
    registries.write_certs(registries.Registries({"docker.io": known.mirrors["docker.io"]}, known.hosts), tmp_path)
    assert file.stat().st_ino == before
    assert not (tmp_path / "registry.example").exists()


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        pytest.param("busybox", (ROBOT, HUB), id="the hub, by way of its mirror"),
        pytest.param("registry.example/a/b:1", (ROBOT,), id="a mirror's credentials, none of its own"),
        pytest.param("mirror.example:5000/x", (ROBOT,), id="the mirror itself"),
        pytest.param("elsewhere.example/x", (), id="a stranger"),
    ],
)
def test_credentials_go_to_whoever_may_be_asked(known: registries.Registries, reference: str, wanted: tuple[RegistryAuth, ...]) -> None:
    assert known.auths(reference) == wanted


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert registries.load(tmp_path / "none.yaml") == registries.Registries()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("mirors: {}", "unknown keys", id="a misspelt section"),
        pytest.param("mirrors: {a: {endpoints: []}}", "unknown keys", id="a misspelt key"),
        pytest.param("mirrors: {a: {endpoint: https://x}}", "is a list", id="a text for a list"),
        pytest.param('mirrors: {a: {rewrite: {"^x/(.*)": "y/$1"}}}', "only a prefix", id="a rewrite containerd cannot do"),
        pytest.param("a: [", "not YAML", id="no YAML"),
        pytest.param("configs: {a: {auth: [x]}}", "key: value", id="a list for a mapping"),
    ],
)
def test_a_mistake_is_said_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "registries.yaml"
    file.write_text(text)
    with pytest.raises(registries.BadRegistries, match=words) as caught:
        registries.load(file)
    assert str(file) in str(caught.value)


def test_a_change_is_read_when_somebody_asks_and_a_mistake_leaves_the_former(tmp_path: Path) -> None:
    file, certs = tmp_path / "registries.yaml", tmp_path / "certs.d"
    source = registries.Source(file, certs)
    assert source() == registries.Registries()
    file.write_text(FILE)
    assert source().auths("busybox") == (ROBOT, HUB)
    assert (certs / "docker.io/hosts.toml").exists()
    file.write_text("mirors: {} # a mistake")
    assert source().auths("busybox") == (ROBOT, HUB)
    file.unlink()
    assert source() == registries.Registries()
    assert list(certs.iterdir()) == []
