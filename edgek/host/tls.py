"""A socket on trio, with TLS or without: the stdlib's non-blocking ``SSLSocket`` driven by readiness.

Half the CPU and half the memory of a TLS stream over memory buffers, and the raw socket stays at hand: a watch is written to without waiting,
and WebSocket or SPDY can take it over. Nothing of HTTP in here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio
from trio import lowlevel

T = TypeVar("T")

YIELD_BYTES = 128 * 1024  # a big answer lets others have their turn after so many bytes
READ_BYTES = 64 * 1024
OUT_OF_TIME = (9, 10)  # OpenSSL's verify_code of a certificate that is not valid yet, or no more

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python has no name for

# What a non-blocking call says when it has to wait.
_WOULD_READ = (BlockingIOError, ssl.SSLWantReadError)
_WOULD_WRITE = (ssl.SSLWantWriteError,)


class Channel(trio.abc.Stream):
    """One connection. ``leftover`` is what was read too early and comes first: whoever takes a connection over passes it on.

    Unlike trio's own streams it raises OSError when the way is broken, and reads do not yield when bytes are there already.
    """

    def __init__(self, sock: socket.socket, leftover: bytes = b"") -> None:
        sock.setblocking(False)
        self._sock = sock
        self._leftover = leftover

    @property
    def peer_address(self) -> str:
        with contextlib.suppress(OSError, IndexError, TypeError):
            return str(self._sock.getpeername()[0])
        return ""

    def peer_certificate(self) -> bytes | None:
        """The client's certificate in DER, once the handshake is done and if it sent one."""
        return self._sock.getpeercert(True) if isinstance(self._sock, ssl.SSLSocket) else None

    def push_back(self, leftover: bytes) -> None:
        """The next read gives this first."""
        self._leftover = leftover + self._leftover

    async def handshake(self) -> None:
        """Raises OSError (``ssl.SSLError`` is one)."""
        if isinstance(self._sock, ssl.SSLSocket):
            await self._retry(self._sock.do_handshake)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Empty at the end. Does not yield when bytes are there: callers checkpoint once per request."""
        if self._leftover:
            found, self._leftover = self._leftover, b""
            return found
        try:
            return self.receive_now(max_bytes or READ_BYTES)
        except _WOULD_READ:
            await lowlevel.wait_readable(self._sock)
        except _WOULD_WRITE:
            await lowlevel.wait_writable(self._sock)
        return await self._retry(lambda: self.receive_now(max_bytes or READ_BYTES))

    def receive_now(self, max_bytes: int = READ_BYTES) -> bytes:
        """Empty at the end. Raises BlockingIOError or ``ssl.SSLWantReadError`` when nothing is there yet."""
        try:
            return self._sock.recv(max_bytes)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
            return b""

    async def _retry(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except _WOULD_READ:
                await lowlevel.wait_readable(self._sock)
            except _WOULD_WRITE:
                await lowlevel.wait_writable(self._sock)

    def send_now(self, data: bytes | memoryview) -> int:
        """How many bytes were taken without waiting. The rest has to be offered again, unchanged. Raises OSError when the way is broken."""
        view = memoryview(data)
        sent = 0
        try:
            while sent < len(view):
                sent += self._sock.send(view[sent:])
        except (*_WOULD_READ, *_WOULD_WRITE):
            pass
        return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Checkpoints every ``YIELD_BYTES``, so that one long list does not hold up everybody."""
        view = memoryview(data)
        since = 0
        while view:
            try:
                sent = self._sock.send(view[:YIELD_BYTES])
            except ssl.SSLWantReadError:
                await lowlevel.wait_readable(self._sock)
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                await lowlevel.wait_writable(self._sock)
                continue
            view = view[sent:]
            since += sent
            if since >= YIELD_BYTES:
                since = 0
                await lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await lowlevel.wait_writable(self._sock)

    wait_writable = wait_send_all_might_not_block

    async def wait_readable(self) -> None:
        """Returns at once, without a checkpoint, when bytes were read already: by us, or by TLS."""
        if not self._leftover and not (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            await lowlevel.wait_readable(self._sock)

    def be_patient(self) -> None:
        """The other side may take nothing for as long as it likes: somebody may have stopped a terminal. That it is there is still looked after."""
        if self._sock.family in (socket.AF_INET, socket.AF_INET6):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)

    async def wait_hung_up(self) -> None:
        """Returns once the other side has closed the connection or it broke, whatever was sent before that nobody has read."""
        with select.epoll(1) as watch:  # trio cannot wait for this; but an epoll is readable when it has something to tell
            watch.register(self._sock, select.EPOLLRDHUP)
            await lowlevel.wait_readable(watch.fileno())

    def close(self) -> None:
        """At once; may be called twice. Tasks that wait on the connection get ``trio.ClosedResourceError``."""
        if self._sock.fileno() < 0:
            return
        lowlevel.notify_closing(self._sock)
        with contextlib.suppress(OSError, ValueError):  # a farewell, if it can be said without waiting
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()
        self._sock.close()

    async def aclose(self) -> None:
        self.close()
        await lowlevel.checkpoint()


def server_context(chain: Path, client_authorities: str = "") -> ssl.SSLContext:
    """For serving. ``chain`` holds key and certificate. Clients are asked for a certificate of one of ``client_authorities`` (PEM) but need none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # a ticket carries the client certificate and costs a third of the handshake; Go clients never use them
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(chain)
    if client_authorities:
        context.load_verify_locations(cadata=client_authorities)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class Serving:
    """What a server shows and whom it takes, which may change: connections that come get ``context``, those that are open keep theirs."""

    def __init__(self, chain: Path, client_authorities: str = "") -> None:
        self.context = server_context(chain, client_authorities)

    def renew(self, chain: Path, client_authorities: str = "") -> None:
        self.context = server_context(chain, client_authorities)


def reload(context: ssl.SSLContext, chain: Path) -> None:
    """New connections get this certificate; those that are open keep theirs."""
    context.load_cert_chain(chain)


def client_context(authorities: str, chain: Path | None = None, *, dates: bool = True) -> ssl.SSLContext:
    """Trusts exactly the authorities given (PEM). Without ``dates`` somebody else has to judge whether the certificates are valid today."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(cadata=authorities)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority that we are told to trust is trusted, whoever its parents are
    if not dates:
        context.verify_flags |= _NO_CHECK_TIME
    if chain:
        context.load_cert_chain(chain)
    return context


def blind_context() -> ssl.SSLContext:
    """Trusts whoever answers: only to ask for what is then checked by other means. Nothing secret may be sent this way."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def wrap_server(sock: socket.socket, context: ssl.SSLContext | Serving | None) -> Channel:
    """An accepted socket. The caller does the ``handshake``."""
    sock.setblocking(False)
    if isinstance(context, Serving):
        context = context.context
    if context is None:
        return Channel(sock)
    return Channel(context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True))


async def dial(host: str, port: int, context: ssl.SSLContext | None, *, name: str = "") -> Channel:
    """Connect and shake hands. Addresses are tried one after the other. Raises OSError, that of the last one.

    ``name`` is what the certificate must bear where that is not ``host``: whoever is dialled by an address of a router, say.
    """
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            await _connect(sock, address)
            channel = _wrap_client(sock, context, name or host)
        except OSError as exc:
            sock.close()
            failure = exc
            continue
        except BaseException:
            sock.close()
            raise
        try:
            await channel.handshake()
        except OSError as exc:
            channel.close()  # the socket is the channel's by now
            failure = exc
        except BaseException:
            channel.close()
            raise
        else:
            return channel
    raise failure


async def _connect(sock: socket.socket, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> None:
    sock.setblocking(False)
    problem = sock.connect_ex(address)  # without a route, say, it fails at once
    if problem == errno.EINPROGRESS:
        await lowlevel.wait_writable(sock)
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wrap_client(sock: socket.socket, context: ssl.SSLContext | None, server_name: str) -> Channel:
    if context is None:
        return Channel(sock)
    return Channel(context.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False, suppress_ragged_eofs=True))
