"""How a node stays a member for years: certificates that end, authorities that are replaced, servers that move, files that somebody deletes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.agent import join
from edgek.agent.membership import Membership
from edgek.client.joining import FOLLOWED, FORGOTTEN, JOIN_PATH, RENEW_PATH, Cluster
from edgek.client.transport import Disconnected
from edgek.host import der, files, pki, wallclock
from edgek.host.pki import Pair
from edgek.model import errors, kinds
from edgek.model.credentials import JoinToken, authority_hash
from edgek.server import certificates
from tests.fakes.entrance import CLUSTER, Joinable, asked

NODE = {"metadata": {"name": "far"}}


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
    nearly_over = pki.sane_now() + (pki.LEAF_DAYS - 60) * pki.DAY_S
    former = wallclock.use(lambda: nearly_over)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(membership.run)
            with trio.fail_after(20):
                while not any(request.path == "/edgek/v1/renew" for request in server.heard) or membership.folder.client.read_bytes() == before:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    finally:
        wallclock.use(former)
    assert not pki.renewal_is_due(membership.folder.client.read_bytes(), 300)
    assert sum(request.path == JOIN_PATH for request in server.heard) == 1


@asynccontextmanager
async def running(membership: Membership) -> AsyncIterator[None]:
    with trio.fail_after(20):
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
