"""A machine becomes a node: by whose word, under which name, and whom it tells nothing."""

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent import join
from edgek.agent.membership import Folder
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.joining import AUTHORITY_PATH, FORGOTTEN, LINK_PATH, SERVER_NAME
from edgek.client.transport import Request
from edgek.host import der, pki, tls, wallclock
from edgek.host.pki import Subject
from edgek.model import errors, kinds
from edgek.model.credentials import JoinToken
from edgek.model.errors import UsageError
from edgek.server import certificates
from edgek.server.api import http
from edgek.server.api.http import Peer
from edgek.server.api.responses import Answer, text
from tests.fakes.authority import valid_from
from tests.fakes.entrance import CLUSTER, Joinable, asked, joinable

NODE = {"metadata": {"name": "far"}}


async def test_a_node_that_joined_is_known_by_its_certificate(server: Joinable) -> None:
    membership = await join.enter(server.config())
    transport = HttpsTransport(membership.choice)
    client = Client(transport)
    assert (await client.create(kinds.NODE, NODE))["metadata"]["name"] == "far"
    with pytest.raises(errors.Forbidden):
        await client.create(kinds.NODE, {"metadata": {"name": "another"}})
    with pytest.raises(errors.Forbidden):
        await client.list(kinds.SECRET, "kube-system")
    transport.close()


async def test_the_cluster_says_how_its_network_is_made(server: Joinable) -> None:
    membership = await join.enter(server.config(cluster_cidr="10.99.0.0/16"))
    config = membership.config
    assert (config.cluster_cidr, config.service_cidr, config.cluster_dns, config.cluster_domain) == (
        CLUSTER.cluster_cidr,
        CLUSTER.service_cidr,
        CLUSTER.cluster_dns,
        CLUSTER.cluster_domain,
    )


async def test_keys_and_the_nodes_own_secret_are_for_root_alone(server: Joinable) -> None:
    config = server.config()
    await join.enter(config)
    folder = Folder(config.agent_dir)
    assert {path.stat().st_mode & 0o777 for path in (folder.client, folder.serving, folder.password, folder.cluster)} == {0o600}


async def test_a_node_that_joined_starts_without_asking_anybody(server: Joinable) -> None:
    await join.enter(server.config())
    server.heard.clear()
    membership = await join.enter(server.config(join="", token=""))
    assert membership.config.cluster_domain == CLUSTER.cluster_domain
    assert membership.config.flannel_backend == CLUSTER.flannel_backend
    assert server.heard == []


async def test_without_a_token_and_with_nothing_kept_it_says_what_is_missing(server: Joinable) -> None:
    with pytest.raises(UsageError, match="--token"):
        await join.enter(server.config(token=""))


async def test_a_wrong_secret_is_refused_with_the_way_out(server: Joinable) -> None:
    wrong = server.token[:-4] + "beef"
    with pytest.raises(UsageError, match="`edgek token` on the server"):
        await join.enter(server.config(token=wrong))


async def test_the_token_is_not_sent_to_a_server_with_another_authority(server: Joinable) -> None:
    token = JoinToken.parse(server.token)
    other = str(JoinToken(token.secret, token.user, "0" * 64))
    with pytest.raises(UsageError, match="The token was not sent"):
        await join.enter(server.config(token=other))
    assert [request.path for request in server.heard] == [AUTHORITY_PATH]
    assert all(token.secret not in str(request) for request in server.heard)


async def test_a_short_token_trusts_whoever_answers_and_says_so(server: Joinable, capfd: pytest.CaptureFixture[str]) -> None:
    await join.enter(server.config(token=JoinToken.parse(server.token).secret))
    assert "whoever answers is trusted" in capfd.readouterr().err


@asynccontextmanager
async def in_between(server: Joinable, chain: Path, heard: list[Request], more: bytes = b"") -> AsyncIterator[int]:
    """Somebody who hands on the cluster's own authority, but has only a certificate of his own."""

    async def handle(request: Request, peer: Peer) -> Answer:
        heard.append(request)
        return text(200, (more + server.keys.server_ca.certificate).decode())

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            await nursery.start(http.serve, handle, [listener], tls.server_context(chain))
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("holds", ["a certificate of his own", "another node's certificate"])
async def test_somebody_in_between_with_another_certificate_gets_no_secret(server: Joinable, tmp_path: Path, holds: str) -> None:
    chain = tmp_path / "theirs.pem"
    if holds == "a certificate of his own":
        pki.save(chain, pki.issue(pki.make_authority("theirs"), Subject("edgek-apiserver", names=(SERVER_NAME,), client=False, server=True)))
    else:
        await join.enter(server.config("evil", node_ip="192.0.2.9"))
        chain = Folder(server.config("evil").agent_dir).serving
    heard: list[Request] = []
    async with in_between(server, chain, heard) as port:
        with pytest.raises(UsageError, match="somebody may stand between"):
            await join.enter(server.config(join=f"https://127.0.0.1:{port}"))
    assert [request.path for request in heard] == [AUTHORITY_PATH]


@pytest.mark.parametrize("days", [1, -3000], ids=["not valid yet", "no more valid"])
async def test_a_clock_outside_the_certificates_time_is_named(tmp_path: Path, days: int) -> None:
    """That of this machine is right, so the authority's dates are wrong: it is the same to a node."""
    start = datetime.now(UTC) + timedelta(days=days)
    (tmp_path / "tls").mkdir()
    pki.save(tmp_path / "tls" / "server-ca.pem", valid_from(start, days=2000))
    async with joinable(tmp_path) as server:
        with pytest.raises(UsageError, match="this machine's clock says") as refusal:
            await join.enter(server.config())
        assert f"valid from {wallclock.rfc3339(start.timestamp())}" in str(refusal.value)
        assert "set the clock" in str(refusal.value)
        assert all(JoinToken.parse(server.token).secret not in str(request) for request in server.heard)


async def test_another_machine_cannot_take_a_nodes_name(server: Joinable) -> None:
    await join.enter(server.config())
    with pytest.raises(UsageError, match="edgek node forget far"):
        await join.enter(server.config(data_dir=str(server.folder / "another-machine")))


async def test_who_is_refused_again_and_again_costs_one_line(server: Joinable, capsys: pytest.CaptureFixture[str]) -> None:
    await join.enter(server.config())
    for folder in ("another-machine", "another-machine", "a-third"):
        for _ in range(3):
            with pytest.raises(UsageError, match="another machine's"):
                await join.enter(server.config(data_dir=str(server.folder / folder)))
    with pytest.raises(UsageError, match="not this cluster's"):
        await join.enter(server.config(data_dir=str(server.folder / "a-third"), token=f"{server.token}x"))
    assert capsys.readouterr().err.count("a node was refused") == 2, "for each reason, from one address"


async def test_the_same_machine_may_join_again(server: Joinable) -> None:
    config = server.config()
    await join.enter(config)
    folder = Folder(config.agent_dir)
    before = folder.client.read_bytes()
    folder.cluster.unlink()
    await join.enter(config)
    assert folder.client.read_bytes() != before


async def test_a_forgotten_name_is_free(server: Joinable) -> None:
    await join.enter(server.config())
    await server.client.delete(kinds.SECRET, "far.node-password.edgek", "kube-system")
    await join.enter(server.config(data_dir=str(server.folder / "another-machine")))


async def test_the_certificate_of_a_forgotten_node_is_of_no_use_any_more(server: Joinable) -> None:
    former = await join.enter(server.config())
    assert (await asked(former)).status != 401
    await server.client.delete(kinds.SECRET, "far.node-password.edgek", "kube-system")
    assert (await asked(former)).status == 401
    with pytest.raises(errors.Unauthorized, match=FORGOTTEN):
        server.entrance.node_of(Request("GET", LINK_PATH), Peer("192.0.2.9", der.from_pem(former.folder.client.read_bytes())))
    latter = await join.enter(server.config(data_dir=str(server.folder / "another-machine")))
    assert (await asked(latter)).status != 401
    assert (await asked(former)).status == 401, "the name is known again, but it is another machine's"


async def test_a_node_that_hears_that_it_was_forgotten_joins_again_at_its_next_start(server: Joinable) -> None:
    former = await join.enter(server.config())
    await server.client.delete(kinds.SECRET, "far.node-password.edgek", "kube-system")
    former.forgotten()
    with pytest.raises(UsageError, match="--token"):
        await join.enter(server.config(token=""))
    assert (await asked(await join.enter(server.config()))).status != 401


async def test_of_two_copies_of_a_forgotten_node_the_first_to_join_has_the_name(server: Joinable) -> None:
    former = await join.enter(server.config())
    shutil.copytree(former.folder.path.parent, server.folder / "copy")
    copy = await join.enter(server.config(data_dir=str(server.folder / "copy")))
    assert (await asked(copy)).status != 401, "until then both are the node"
    await server.client.delete(kinds.SECRET, "far.node-password.edgek", "kube-system")
    for each in (former, copy):
        each.forgotten()
    assert (await asked(await join.enter(server.config()))).status != 401
    with pytest.raises(UsageError, match=r"another machine's.*--node-name"):
        await join.enter(server.config(data_dir=str(server.folder / "copy")))
    assert await join.enter(server.config("further", data_dir=str(server.folder / "copy")))


@pytest.mark.parametrize("name", ["box", SERVER_NAME, "Not_a_name"])
async def test_names_that_are_the_servers_or_none_are_refused(server: Joinable, name: str) -> None:
    with pytest.raises(UsageError, match="--node-name"):
        await join.enter(server.config(name))


async def test_a_node_joins_with_a_clock_that_starts_in_1970(server: Joinable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "SANE_NOW", pki.sane_now())  # as in a program that was written today
    former = wallclock.use(lambda: 5.0)
    try:
        membership = await join.enter(server.config())
    finally:
        wallclock.use(former)
    transport = HttpsTransport(membership.choice)
    assert await Client(transport).create(kinds.NODE, NODE)
    transport.close()


@pytest.mark.parametrize("url", ["http://host:6443", "https://host:0", "https://host/path", "https://"])
async def test_an_address_that_is_none_is_refused(server: Joinable, url: str) -> None:
    with pytest.raises(UsageError, match="say https://HOST:6443"):
        await join.enter(server.config(join=url))


@pytest.mark.parametrize("which", ["former", "new"])
async def test_while_authorities_change_tokens_of_both_let_nodes_in(server: Joinable, which: str) -> None:
    former = server.token
    certificates.rotate_authorities(server.folder / "tls")
    server.renew()
    assert former != server.token
    membership = await join.enter(server.config(token=former if which == "former" else server.token))
    assert membership.folder.server_authority.read_bytes() == server.keys.server_authorities


async def test_a_token_vouches_for_the_one_authority_that_it_names(server: Joinable) -> None:
    """Somebody in between may add his own to those that he hands on."""
    own = pki.make_authority("his")
    chain = server.folder / "his.pem"
    pki.save(chain, pki.issue(own, Subject("edgek-apiserver", names=(SERVER_NAME,), client=False, server=True)))
    heard: list[Request] = []
    async with in_between(server, chain, heard, own.certificate) as port:
        with pytest.raises(UsageError, match="somebody may stand between"):
            await join.enter(server.config(join=f"https://127.0.0.1:{port}"))
    assert [request.path for request in heard] == [AUTHORITY_PATH]
