import errno
import gc
import os
import socket
import ssl
from pathlib import Path

import pytest
import trio
import trio.testing

from edgek.host import pki, tls
from edgek.host.pki import Subject
from edgek.host.tls import Channel


def pair() -> tuple[Channel, Channel]:
    one, other = socket.socketpair()
    return Channel(one), Channel(other)


async def test_what_was_read_too_early_comes_first() -> None:
    here, there = pair()
    here.push_back(b"early ")
    await there.send_all(b"late")
    await here.wait_readable()
    assert await here.receive_some() == b"early "
    assert await here.receive_some() == b"late"


async def test_sending_at_once_takes_what_fits_and_says_how_much() -> None:
    here, there = pair()
    big = b"x" * 10_000_000
    sent = here.send_now(big)
    assert 0 < sent < len(big)
    assert here.send_now(big[sent:]) == 0
    got = 0
    while got < sent:
        got += len(await there.receive_some())
    await here.wait_writable()
    assert here.send_now(big[sent:]) > 0


async def test_reading_at_once_says_when_there_is_nothing() -> None:
    here, there = pair()
    with pytest.raises(BlockingIOError):
        here.receive_now()
    there.close()
    assert here.receive_now() == b""


async def test_closing_wakes_who_waits_and_may_be_done_twice() -> None:
    here, _ = pair()
    outcome = []

    async def wait() -> None:
        try:
            await here.receive_some()
        except trio.ClosedResourceError:
            outcome.append("woken")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        here.close()
        here.close()
    assert outcome == ["woken"]


async def test_a_long_send_lets_others_have_their_turn() -> None:
    here, there = pair()
    turns = 0
    done = trio.Event()

    async def others() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await trio.lowlevel.checkpoint()

    async def read() -> None:
        left = 4_000_000
        while left:
            left -= len(await there.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        nursery.start_soon(read)
        await here.send_all(b"x" * 4_000_000)
        done.set()
    assert turns >= 4_000_000 // tls.YIELD_BYTES // 2


async def test_both_ends_shake_hands_and_know_each_other(tmp_path: Path) -> None:
    authority = pki.make_authority("ca")
    serving, mine = tmp_path / "serving.pem", tmp_path / "mine.pem"
    pki.save(serving, pki.issue(authority, Subject("server", names=("127.0.0.1",), client=False, server=True)))
    pki.save(mine, pki.issue(authority, Subject("me")))
    pem = authority.certificate.decode()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        seen: list[bytes | None] = []

        async def accept() -> None:
            await trio.lowlevel.wait_readable(listener)
            channel = tls.wrap_server(listener.accept()[0], tls.server_context(serving, pem))
            await channel.handshake()
            seen.append(channel.peer_certificate())
            await channel.send_all(b"hello")
            await channel.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            channel = await tls.dial("127.0.0.1", listener.getsockname()[1], tls.client_context(pem, mine))
            assert await channel.receive_some() == b"hello"
            assert await channel.receive_some() == b""
            channel.close()
    assert seen[0] is not None
    assert ssl.DER_cert_to_PEM_cert(seen[0]).startswith("-----BEGIN CERTIFICATE-----")


async def test_what_the_kernel_refuses_at_once_is_said_in_its_words() -> None:
    with pytest.raises(OSError) as refusal:
        await tls.dial("255.255.255.255", 6443, None)  # a broadcast address: refused before a packet is sent
    assert refusal.value.errno in (errno.ENETUNREACH, errno.EACCES)


async def test_dialling_where_nobody_listens_is_an_error() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        await tls.dial("127.0.0.1", port, None)


async def test_a_handshake_that_fails_leaves_no_socket_behind() -> None:
    """Nobody collects garbage for a program at rest: what is not closed stays."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    async def hang_up() -> None:
        accepting = trio.socket.from_stdlib_socket(listener)
        while True:
            connection, _ = await accepting.accept()
            connection.close()

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        gc.collect()
        gc.disable()
        try:
            before = open_files()
            for _ in range(5):
                with pytest.raises(OSError):
                    await tls.dial("127.0.0.1", port, tls.blind_context())
                with trio.move_on_after(0):
                    await tls.dial("127.0.0.1", port, tls.blind_context())
            await trio.testing.wait_all_tasks_blocked()
            assert open_files() == before
        finally:
            gc.enable()
        nursery.cancel_scope.cancel()
    listener.close()
