"""What leaves the machine holds no secret: those that are known in every guise, and what looks like one."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from edgek.cli import known_secrets
from edgek.cli.blot import BLOT, Blotter
from edgek.host import pki

SECRET = "hunter2-Ab+c/d?é"
nobody = Blotter([])


@pytest.mark.parametrize(
    "guise",
    [SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex()],
    ids=["as it is", "in JSON", "in a URL", "in base64", "in hex"],
)
def test_a_known_secret_is_found_in_every_guise(guise: str) -> None:
    assert Blotter([SECRET]).text(f"it said {guise}, and went on") == f"it said {BLOT}, and went on"


def test_a_line_of_a_longer_secret_is_one_too() -> None:
    secret = "first line of words\nkey-of-the-house-4711\n"
    assert "4711" not in Blotter([secret]).text("the log quotes key-of-the-house-4711")
    assert Blotter([secret]).text("first line") == "first line"


def test_words_too_short_to_be_secrets_stay() -> None:
    assert Blotter(["true", "a"]).text("a true word") == "a true word"


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer S3CRET.abc-def",
        'authorization="Basic dXNlcjpTM0NSRVQ="',
        "curl https://user:S3CRET@registry.example/v2/",
        "dial postgres://app:S3CRETpass@db:5432/x?sslmode=off",
        "password=S3CRET user=x",
        'level=info msg="login" token="S3CRET with spaces"',
        '{"password": "S3CRET", "user": "x"}',
        '{\\"api_key\\": \\"S3CRET\\"}',
        "MYSQL_ROOT_PASSWORD: S3CRET",
        "edgek agent --join https://h:6443 --token S3CRET",
        "edgek server --agent-token=S3CRET",
        "EDGEK_TOKEN='S3CRET'",
        "client-key-data: S3CRETS3CRET",
        "K10" + "0" * 64 + "::server:S3CRET",
        "eyJhbGciOiJFUzI1NiJ9.S3CRETeyJpc3MiOiJ4In0.S3CRETsig",
        "abcdef.0123456789abcdef".replace("0123456789abcdef", "s3cret0123456789"),
        "Cookie: S3CRET",
    ],
)
def test_what_looks_like_a_secret_is_blotted(line: str) -> None:
    blotted = nobody.text(line)
    assert "s3cret" not in blotted.lower(), blotted
    assert base64.b64encode(b"user:S3CRET").decode() not in blotted
    assert BLOT in blotted


@pytest.mark.parametrize(
    "line",
    [
        '"secretName": "web-tls"',
        '"automountServiceAccountToken": false',
        "--token-file /etc/edgek/token",
        "https://192.0.2.1:6443/api/v1/secrets",
        "the token expired at 2026-11-21T07:00:00Z",
        '"secret": {"secretName": "web"}',
        "registry-1.docker.io/library/nginx:1.27@sha256:abc",
        "2026-11-21T07:00:00Z info joined server=https://10.0.0.1:6443 node=far",
    ],
)
def test_what_helps_and_is_no_secret_stays(line: str) -> None:
    assert nobody.text(line) == line


def test_a_private_key_goes_whole_also_where_its_end_was_cut_off() -> None:
    pem = pki.make_authority("x").file_text.decode()
    begin = pem.index("-----BEGIN PRIVATE")
    body = pem[begin:].splitlines()[1]
    assert body not in nobody.text(f"before\n{pem}after")
    assert "after" in nobody.text(f"before\n{pem}after")
    assert body not in nobody.text(pem[begin : begin + 120])
    assert base64.b64encode(pem.encode()).decode() not in nobody.text(f"certificate-authority: {base64.b64encode(pem.encode()).decode()}")


def test_objects_lose_what_containers_find_in_their_environment_and_what_says_it_all_once_more() -> None:
    pod: dict[str, Any] = {
        "metadata": {
            "name": "web",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "S3CRET", "a": "b"},
            "managedFields": [{"x": "S3CRET"}],
        },
        "spec": {
            "containers": [{"name": "c", "env": [{"name": "PIN", "value": "S3CRET"}, {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "n"}}}]}]
        },
    }
    found = json.loads(nobody.objects([pod]))[0]
    assert "S3CRET" not in json.dumps(found)
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert found["spec"]["containers"][0]["env"][0] == {"name": "PIN", "value": BLOT}
    assert found["spec"]["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"] == {"name": "n"}


def test_objects_lose_the_word_after_a_flag_and_the_value_beside_a_name() -> None:
    found = json.loads(
        nobody.objects([{"args": ["--user", "u", "--password", "S3CRET", "--verbose"], "x": [{"name": "API_KEY", "value": "S3CRET"}]}])
    )[0]
    assert found["args"] == ["--user", "u", "--password", BLOT, "--verbose"]
    assert found["x"] == [{"name": "API_KEY", "value": BLOT}]


def test_a_megabyte_without_a_break_takes_no_longer_than_words_do() -> None:
    """Or it would be hours."""
    assert len(nobody.text("x" * (1 << 20))) == 1 << 20


def encoded(**values: str) -> dict[str, str]:
    return {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}


def test_of_a_registrys_secret_the_password_inside_is_known_too() -> None:
    inner = {"auths": {"registry.example": {"username": "u", "password": "S3CRETpull", "auth": "dTpTM0NSRVQ="}}}
    obj = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": base64.b64encode(json.dumps(inner).encode()).decode()}}
    assert {"S3CRETpull", "dTpTM0NSRVQ="} <= set(known_secrets.of_secret(obj))


def test_what_is_no_secret_in_a_secret_is_not_blotted_everywhere() -> None:
    token = {"type": "kubernetes.io/service-account-token", "data": encoded(namespace="kube-system", ca_crt="-----BEGIN", token="S3CRET")}
    assert list(known_secrets.of_secret(token)) == ["S3CRET"]
    binary = {"type": "Opaque", "data": {"key": base64.b64encode(b"\xff\xfe\x00binary").decode()}}
    assert list(known_secrets.of_secret(binary)) == [binary["data"]["key"]]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token: K10secret", "K10secret"),
        ("agent-token: 'K10 secret' # of the board", "K10 secret"),
        ("EDGEK_TOKEN='K10$ecret'", "K10$ecret"),
        ('EDGEK_TOKEN="it\'s \\$o \\"secret\\""', 'it\'s $o "secret"'),
    ],
)
def test_a_secret_is_known_however_it_is_quoted_where_it_is_kept(text: str, secret: str) -> None:
    assert secret in set(known_secrets.assigned(text))


def test_a_files_name_is_no_secret() -> None:
    assert list(known_secrets.assigned("token-file: /etc/edgek/token\nnode-name: a\n")) == []
