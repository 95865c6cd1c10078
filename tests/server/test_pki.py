"""What a server makes on its first start and finds again on the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgek.host import der, wallclock
from edgek.host import pki as host_pki
from edgek.server import pki


def test_a_second_start_reads_what_the_first_made(tmp_path: Path) -> None:
    first = pki.open_keys(tmp_path / "tls", ["localhost", "10.43.0.1"])
    assert pki.open_keys(tmp_path / "tls", ["localhost"]) == first


def test_every_file_with_a_key_is_closed_to_others(tmp_path: Path) -> None:
    pki.open_keys(tmp_path / "tls", ["localhost"])
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "tls").iterdir():
        if b"PRIVATE KEY" in path.read_bytes():
            assert path.stat().st_mode & 0o777 == 0o600, path


def test_a_new_name_makes_a_new_server_certificate_under_the_same_authority(tmp_path: Path) -> None:
    first = pki.open_keys(tmp_path, ["localhost"])
    second = pki.open_keys(tmp_path, ["localhost", "edge.example"])
    assert second.serving != first.serving
    assert (second.server_ca, second.admin) == (first.server_ca, first.admin)
    assert "edge.example" in der.read(der.from_pem(second.serving.certificate)).names


def test_what_runs_out_is_made_anew_and_the_authorities_stay(tmp_path: Path) -> None:
    first = pki.open_keys(tmp_path, ["localhost"])
    later = host_pki.sane_now() + 300 * host_pki.DAY_S
    former = wallclock.use(lambda: later)
    try:
        second = pki.open_keys(tmp_path, ["localhost"])
    finally:
        wallclock.use(former)
    assert second.serving != first.serving
    assert second.admin != first.admin
    assert (second.client_ca, second.service_account_key) == (first.client_ca, first.service_account_key)


def test_a_client_certificate_is_signed_by_the_authority_of_its_kind(tmp_path: Path) -> None:
    keys = pki.open_keys(tmp_path, ["localhost"])
    signers = {
        pki.node("a"): keys.client_ca,
        pki.node_server("a", ["10.0.0.1"]): keys.server_ca,
        pki.FRONT_PROXY: keys.front_proxy_ca,
    }
    for subject, signer in signers.items():
        leaf = der.read(der.from_pem(keys.issue(subject).certificate))
        assert leaf.issuer == der.read(der.from_pem(signer.certificate)).subject


def test_the_join_token_stays_until_another_is_wanted(tmp_path: Path) -> None:
    keys = pki.open_keys(tmp_path / "tls", ["localhost"])
    first = pki.open_token(tmp_path / "token", keys)
    assert pki.open_token(tmp_path / "token", keys) == first
    assert first.trusts(keys.server_ca.certificate)
    assert pki.open_token(tmp_path / "token", keys, "mine").secret == "mine"
    assert pki.open_token(tmp_path / "token", keys).secret == "mine"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_restart_does_not_load_cryptography(tmp_path: Path) -> None:
    pki.open_keys(tmp_path, ["localhost"])
    script = (
        "import pathlib, sys, trio\n"
        "from edgek.server import pki\n"
        "from edgek.server.api.authn import Authenticator\n"
        "from edgek.server.api.tokens import ServiceAccountTokens\n"
        "from edgek.server.store.memory import MemoryBackend\n"
        f"keys = pki.open_keys(pathlib.Path({str(tmp_path)!r}), ['localhost'])\n"
        "async def main():\n"
        "    tokens = ServiceAccountTokens(MemoryBackend(), keys.service_account_key, issuer='x')\n"
        "    Authenticator(tokens=tokens, client_ca=keys.client_ca.certificate, front_proxy_ca=keys.front_proxy_ca.certificate)\n"
        "trio.run(main)\n"
        "print('cryptography' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_names_from_before_stay_so_that_an_address_that_comes_and_goes_makes_one_certificate(tmp_path: Path) -> None:
    pki.open_keys(tmp_path, ["box", "192.0.2.1"])
    second = pki.open_keys(tmp_path, ["box", "192.0.2.2"])
    assert pki.open_keys(tmp_path, ["box", "192.0.2.1"]).serving == second.serving


def test_what_was_made_anew_for_its_age_bears_no_names_from_before(tmp_path: Path) -> None:
    pki.open_keys(tmp_path, ["box", "192.0.2.1"])
    real = wallclock.use(lambda: real() + 300 * host_pki.DAY_S)
    try:
        later = pki.open_keys(tmp_path, ["box"])
    finally:
        wallclock.use(real)
    assert der.read(der.from_pem(later.serving.certificate)).names == ("box",)
