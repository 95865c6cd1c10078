import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent import join
from edgek.agent.join import Folder, Membership
from edgek.client.client import Client
from edgek.client.https import HttpsTransport
from edgek.client.joining import AUTHORITY_PATH, FOLLOWED, FORGOTTEN, JOIN_PATH, LINK_PATH, RENEW_PATH, SERVER_NAME, Cluster
from edgek.client.transport import Disconnected, Request, Response
from edgek.host import der, files, pki, tls, wallclock
from edgek.host.pki import Pair, Subject
from edgek.model import errors, kinds
from edgek.model.credentials import JoinToken, authority_hash
from edgek.model.errors import UsageError
from edgek.server import certificates
from edgek.server.api import http
from edgek.server.api.http import Peer
from edgek.server.api.responses import Answer, text
from tests.fakes.authority import valid_from
from tests.fakes.entrance import CLUSTER, Joinable, joinable

NODE = {"metadata": {"name": "far"}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Joinable]:
    floor = wallclock._Clock.floor  # nodes keep the newest time that they have seen, and some of these see the future
    async with joinable(tmp_path) as found:
        yield found
    wallclock._Clock.floor = floor


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


async def asked(membership: Membership) -> Response:
    """What the server says to a node that asks for itself."""
    transport = HttpsTransport(membership.choice)
    try:
        return await transport.request(Request("GET", "/api/v1/nodes/far"))
    finally:
        transport.close()


@pytest.mark.parametrize("name", ["box", SERVER_NAME, "Not_a_name"])
async def test_names_that_are_the_servers_or_none_are_refused(server: Joinable, name: str) -> None:
    with pytest.raises(UsageError, match="--node-name"):
        await join.enter(server.config(name))


async def test_a_node_joins_with_a_clock_that_starts_in_1970(server: Joinable) -> None:
    former = wallclock.use(lambda: 5.0)
    try:
        membership = await join.enter(server.config())
    finally:
        wallclock.use(former)
    transport = HttpsTransport(membership.choice)
    assert await Client(transport).create(kinds.NODE, NODE)
    transport.close()


async def test_a_server_that_moved_is_remembered(server: Joinable) -> None:
    config = server.config()
    membership = await join.enter(config)
    membership.learn(Cluster(("https://192.0.2.8:6443",), "", "", "", "", ""))
    again = await join.enter(server.config(join="", token=""))
    assert str(again.choice.current) == "192.0.2.8:6443"
    assert again.config.cluster_domain == CLUSTER.cluster_domain


async def test_a_full_disk_does_not_end_an_agent_whose_server_moves(
    server: Joinable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        raise OSError(28, "No space left on device")

    membership = await join.enter(server.config())
    moved = Cluster(("https://192.0.2.8:6443",), "", "", "", "", "")
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomically", full)
        for _ in range(3):
            membership.learn(moved)
    assert "192.0.2.8:6443" in membership.cluster.servers[0]
    assert capsys.readouterr().err.count("No space left") == 1
    membership.learn(moved)  # linked again
    again = await join.enter(server.config(join="", token=""))
    assert str(again.choice.current) == "192.0.2.8:6443"


async def test_certificates_that_run_out_are_renewed_while_running(server: Joinable) -> None:
    membership = await join.enter(server.config())
    before = membership.folder.client.read_bytes()
    nearly_over = pki.SANE_NOW + (pki.LEAF_DAYS - 60) * pki.DAY_S
    former = wallclock.use(lambda: nearly_over)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(membership.run)
            with trio.fail_after(5):
                while not any(request.path == "/edgek/v1/renew" for request in server.heard) or membership.folder.client.read_bytes() == before:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)
    assert not pki.renewal_is_due(membership.folder.client.read_bytes(), 300)
    assert sum(request.path == JOIN_PATH for request in server.heard) == 1


@pytest.mark.parametrize("url", ["http://host:6443", "https://host:0", "https://host/path", "https://"])
async def test_an_address_that_is_none_is_refused(server: Joinable, url: str) -> None:
    with pytest.raises(UsageError, match="say https://HOST:6443"):
        await join.enter(server.config(join=url))


@asynccontextmanager
async def running(membership: Membership) -> AsyncIterator[None]:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(membership.run)
            yield
            nursery.cancel_scope.cancel()


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await trio.lowlevel.checkpoint()


def authority_of(membership: Membership) -> bytes:
    """Who signed the node's certificate."""
    return der.read(der.from_pem(membership.folder.client.read_bytes())).issuer


def name_of(authority: Pair) -> bytes:
    return der.read(der.from_pem(authority.certificate)).subject


async def test_a_node_follows_its_cluster_to_another_authority_and_loses_the_former_one_when_that_is_finished(server: Joinable) -> None:
    membership = await join.enter(server.config())
    former = server.keys
    certificates.rotate_authorities(server.folder / "tls")
    server.renew()
    async with running(membership):
        membership.learn_authorities(authority_hash(server.keys.server_authorities))  # as the server says when the link is dialled
        await until(lambda: authority_of(membership) == name_of(server.keys.client_ca))
        assert membership.folder.server_authority.read_bytes() == server.keys.server_authorities
        certificates.finish(server.folder / "tls")
        server.renew()
        membership.follow(server.keys.server_authorities)  # as it is told over a link
        assert membership.folder.server_authority.read_bytes() == server.keys.server_ca.certificate
        await trio.testing.wait_all_tasks_blocked(0.5)
        assert not membership._look.is_set(), "it rests"
    assert (await asked(membership)).status != 401
    again = await join.enter(server.config(token=str(JoinToken("x", "server", authority_hash(former.server_ca.certificate)))))
    assert again.folder.client.read_bytes() == membership.folder.client.read_bytes(), "the token of then is of this cluster still"


async def test_a_node_that_knows_only_the_former_authority_finds_its_server_until_that_is_finished(server: Joinable) -> None:
    membership = await join.enter(server.config())
    certificates.rotate_authorities(server.folder / "tls")
    server.renew()
    assert (await asked(membership)).status != 401
    certificates.finish(server.folder / "tls")
    server.renew()
    with pytest.raises(Disconnected):
        await asked(membership)
    again = await join.enter(server.config(token=server.token))
    assert (await asked(again)).status != 401, "the same machine, with a new token"


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


async def test_a_node_whose_certificate_has_ended_proves_itself_by_its_own_secret(server: Joinable) -> None:
    membership = await shelved(server)
    with pytest.raises(Disconnected):
        await asked(membership)
    async with running(await join.enter(server.config(token=""))):
        await until(lambda: not pki.renewal_is_due(membership.folder.client.read_bytes()))
    assert (await asked(await join.enter(server.config(token="")))).status != 401
    assert sum(request.path == JOIN_PATH for request in server.heard) == 1


async def test_a_node_whose_clock_does_not_know_that_its_certificate_has_ended_asks_when_the_server_hangs_up(server: Joinable) -> None:
    membership = await shelved(server)
    former = wallclock.use(lambda: pki.SANE_NOW - 400 * pki.DAY_S)
    sane, pki.SANE_NOW = pki.SANE_NOW, 0.0
    try:
        async with running(membership):
            membership.doubted()
            await until(lambda: any(request.path == RENEW_PATH for request in server.heard))
    finally:
        wallclock.use(former)
        pki.SANE_NOW = sane


async def shelved(server: Joinable) -> Membership:
    """It has joined, and the certificate that it got has ended since. Nothing else has."""
    days, pki.LEAF_DAYS = pki.LEAF_DAYS, -1
    try:
        return await join.enter(server.config())
    finally:
        pki.LEAF_DAYS = days


async def test_a_secret_is_no_way_in_for_a_node_that_was_forgotten_nor_for_another_machine(server: Joinable) -> None:
    membership = await shelved(server)
    folder = membership.folder
    secret = folder.password.read_text()
    folder.password.write_text("0" * 32 + "\n")
    with pytest.raises(errors.Conflict, match="another machine"):
        await membership.renew()
    folder.password.write_text(secret)
    await server.client.delete(kinds.SECRET, "far.node-password.edgek", "kube-system")
    with pytest.raises(errors.Unauthorized, match=FORGOTTEN):
        await membership.renew()
    assert pki.renewal_is_due(folder.client.read_bytes(), 0)
    async with running(membership):
        await until(lambda: not folder.cluster.exists())


async def test_a_certificate_that_a_command_renewed_is_shown_by_the_agent_that_runs(server: Joinable) -> None:
    membership = await join.enter(server.config())
    async with running(membership):
        before = membership.trust.context
        kept = join.kept(server.config())
        assert kept is not None
        await kept.renew()
        await until(lambda: membership.trust.context is not before)


async def test_a_certificate_that_somebody_has_deleted_is_made_anew(server: Joinable) -> None:
    membership = await join.enter(server.config())
    async with running(membership):
        membership.folder.client.unlink()
        await until(membership.folder.client.exists)
    assert (await asked(membership)).status != 401


async def test_the_cluster_notes_which_authorities_a_node_follows(server: Joinable) -> None:
    membership = await join.enter(server.config())

    async def noted() -> str:
        record = await server.client.get(kinds.SECRET, "far.node-password.edgek", "kube-system")
        return str(record["metadata"]["annotations"][FOLLOWED])

    assert await noted() == server.keys.digest
    certificates.rotate_authorities(server.folder / "tls")
    server.renew()
    assert await noted() != server.keys.digest
    await membership.renew()
    assert await noted() == server.keys.digest
