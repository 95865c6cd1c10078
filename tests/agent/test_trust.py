"""What a node believes while its clock is wrong: what it has believed before, and nothing more than it would have then."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from edgek.agent.trust import KEEP_EVERY_S, Trust
from edgek.client.https import Server
from edgek.client.transport import Disconnected
from edgek.host import files, pki, tls, wallclock
from edgek.host.pki import Pair, Subject

NOW = datetime(2027, 3, 1, tzinfo=UTC).timestamp()
BOOT = 120.0  # two minutes of 1970
DAY_S = 86400.0


class Calendar:
    """What the clock shows. OpenSSL reads the real one; where it would judge dates, certificates are made as of then."""

    now = NOW


@pytest.fixture
def calendar() -> Iterator[Calendar]:
    shown = Calendar()
    former, floor = wallclock.use(lambda: shown.now), wallclock._Clock.floor
    yield shown
    wallclock.use(former)
    wallclock._Clock.floor = floor


@pytest.fixture
def authority(calendar: Calendar) -> Pair:
    return pki.make_authority("a cluster")


@pytest.fixture
def trust(authority: Pair, tmp_path: Path) -> Trust:
    return trusting(authority, tmp_path)


def trusting(authority: Pair, folder: Path) -> Trust:
    if not (folder / "client.pem").exists():
        pki.save(folder / "client.pem", pki.issue(authority, Subject("system:node:far")))
    return Trust(authority.certificate.decode(), folder / "client.pem", folder / "seen.json")


def leaf(authority: Pair) -> bytes:
    """In DER."""
    return ssl.PEM_cert_to_DER_cert(pki.issue(authority, Subject("server", names=("server",), server=True)).certificate.decode())


def dated(authority: Pair, first: float, last: float) -> bytes:
    """One with other dates than edgek gives, in DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer = x509.load_pem_x509_certificate(authority.certificate).subject
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer, issuer, key.public_key(), x509.random_serial_number(), datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
    )
    return builder.sign(pki.load_key(authority.key), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_a_clock_of_1970_takes_what_was_accepted_before(authority: Pair, trust: Trust, calendar: Calendar, tmp_path: Path) -> None:
    known = dated(authority, NOW - DAY_S, NOW + DAY_S)
    trust.judge(known)
    calendar.now = BOOT
    again = trusting(authority, tmp_path)
    assert again.newest == NOW
    again.judge(known)
    assert again.newest == NOW, "1970 is no news"
    assert pki.sane_now() >= NOW


def test_and_nothing_else_without_judging_its_dates(authority: Pair, trust: Trust, calendar: Calendar, tmp_path: Path) -> None:
    trust.judge(leaf(authority))
    calendar.now = BOOT
    again = trusting(authority, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"clock says 1970-01-01T00:02:00Z, but it was 2027-03-01.* already"):
        again.judge(dated(authority, 0, NOW - DAY_S))  # it was good in 1970, and has ended since
    with pytest.raises(ssl.SSLCertVerificationError, match="set the clock"):
        again.judge(dated(authority, NOW + DAY_S, NOW + 2 * DAY_S))
    again.judge(leaf(authority))  # renewed while this board was dark: good as of the newest time


def test_only_times_by_which_the_server_is_good_are_believed(authority: Pair, trust: Trust, calendar: Calendar) -> None:
    trust.judge(dated(authority, NOW - DAY_S, NOW + DAY_S))
    calendar.now = NOW + 1000 * DAY_S
    trust.tell_time()
    assert trust.newest == NOW
    calendar.now = NOW + 1000
    trust.tell_time()
    assert trust.newest == NOW + 1000


def test_it_is_written_for_news_once_a_day_and_at_the_end(
    authority: Pair, trust: Trust, calendar: Calendar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, write = list[Path](), files.write_atomically

    def counted(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        writes.append(path)
        write(path, content, mode)

    monkeypatch.setattr(files, "write_atomically", counted)
    known = leaf(authority)
    trust.judge(known)
    assert len(writes) == 1
    for _ in range(200):  # a flapping link
        calendar.now += 60
        trust.judge(known)
    assert len(writes) == 1
    calendar.now += KEEP_EVERY_S
    trust.tell_time()
    assert len(writes) == 2
    calendar.now += 60
    trust.tell_time()
    trust.keep()
    trust.keep()
    assert len(writes) == 3
    assert (tmp_path / "seen.json").stat().st_mode & 0o777 == 0o600
    assert trusting(authority, tmp_path).newest == int(calendar.now)


def test_a_full_disk_ends_nothing(authority: Pair, trust: Trust, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_atomically", full)
    trust.judge(leaf(authority))
    assert "cannot keep the newest time" in capsys.readouterr().err


def test_a_strangers_file_is_nothing(authority: Pair, trust: Trust, tmp_path: Path) -> None:
    for content in ("", "{}", "[]", '{"newest": "soon", "accepted": []}'):
        (tmp_path / "seen.json").write_text(content)
        assert trusting(authority, tmp_path).newest == 0


async def test_a_server_whose_dates_openssl_would_not_take_is_dialled_by_what_was_accepted(
    authority: Pair, calendar: Calendar, tmp_path: Path
) -> None:
    """OpenSSL's own clock is the real one here; so the certificate that has ended by it stands for one that the wrong clock does not like."""
    calendar.now = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
    pair = ended_certificate(authority)
    (tmp_path / "server.pem").write_bytes(pair.file_text)
    trust = trusting(authority, tmp_path)
    trust.judge(ssl.PEM_cert_to_DER_cert(pair.certificate.decode()))
    calendar.now = BOOT
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_tls, tmp_path / "server.pem")
        channel = await Server("127.0.0.1", port, trust, name="server").dial()
        channel.close()
        calendar.now = trust.newest + 1
        with pytest.raises(Disconnected, match="expired"):
            await Server("127.0.0.1", port, trust, name="server").dial()
        calendar.now = BOOT
        other = trusting(pki.make_authority("another"), other_folder(tmp_path))
        with pytest.raises(Disconnected, match="holds no certificate of this cluster"):
            await Server("127.0.0.1", port, other, name="server").dial()
        with pytest.raises(Disconnected, match="mismatch"):
            await Server("127.0.0.1", port, trust, name="somebody-else").dial()
        nursery.cancel_scope.cancel()


def other_folder(folder: Path) -> Path:
    (folder / "other").mkdir()
    return folder / "other"


def ended_certificate(authority: Pair) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    made = pki.issue(authority, Subject("server", names=("server",), server=True))
    like = x509.load_pem_x509_certificate(made.certificate)
    builder = x509.CertificateBuilder(
        like.issuer,
        like.subject,
        like.public_key(),  # type: ignore[arg-type]  # the keys we make
        like.serial_number,
        datetime(1990, 1, 1, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=30),
    )
    for extension in like.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    certificate = builder.sign(pki.load_key(authority.key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return Pair(certificate, made.key)


async def serve_tls(chain: Path, *, task_status: trio.TaskStatus[int]) -> None:
    context = tls.server_context(chain)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def greet(stream: trio.SocketStream) -> None:
        raw = stream.socket
        channel = tls.wrap_server(raw._sock.dup(), context)  # type: ignore[attr-defined]
        try:
            await channel.handshake()
            await channel.receive_some()
        except OSError:
            return
        finally:
            channel.close()

    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(greet, listeners)
