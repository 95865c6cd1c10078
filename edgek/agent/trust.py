"""What a joined node believes of the servers it dials, whatever its own clock says.

A board without a battery boots in 1970. So the node keeps the newest time it has ever seen (that is, while it was linked to a server whose
certificate was good by it) and the certificates that it has accepted. While its clock is before that time, a certificate that it has accepted before
is taken without judging its dates, and every other one is judged as of that time. What chain stands behind it, and whose name it bears, is judged
always.

One small file, written when a server shows a certificate for the first time, once a day, and when the node stops in good order.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import attrs
import orjson

from edgek.host import der, files, log, tls, wallclock
from edgek.host.der import Certificate
from edgek.model.credentials import split_pem

KEEP_EVERY_S = 86400.0  # the clocks that matter here are wrong by years
ACCEPTED_MOST = 16  # certificates: of some servers, and of their renewals


@attrs.frozen
class Seen:
    """What the file holds. ``accepted`` are SHA-256 of certificates, the newest last."""

    newest: float = 0.0
    accepted: tuple[str, ...] = ()

    def encode(self) -> bytes:
        return orjson.dumps({"newest": wallclock.rfc3339(self.newest), "accepted": self.accepted})

    @classmethod
    def decode(cls, raw: bytes) -> Seen:
        """Raises ValueError, KeyError, TypeError."""
        found = orjson.loads(raw)
        return cls(wallclock.parse(found["newest"]), tuple(str(each) for each in found["accepted"]))


class Trust:
    """For ``client.https.Server``. ``authorities`` (PEM) are pinned since the node joined; ``chain`` is the node's own key and certificate."""

    def __init__(self, authorities: str, chain: Path, file: Path) -> None:
        """Raises ssl.SSLError and ValueError for what are no certificates, OSError where they cannot be read."""
        self._chain = chain
        self._file = file
        self.follow(authorities)
        self._shown: Certificate | None = None  # by the server, last
        self._seen = self._written = self._kept()
        wallclock.never_before(self._seen.newest)

    @property
    def newest(self) -> float:
        """The newest time that this node has seen."""
        return self._seen.newest

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection, whose certificate is then handed to ``judge``."""
        return self._dateless if self._clock_is_behind else self._dated

    def follow(self, authorities: str) -> None:
        """These are the authorities now. Open connections stay as they are. Raises as the constructor does."""
        read = [der.read(der.from_pem(each)) for each in split_pem(authorities.encode())]
        if not read:
            raise ValueError("there is no certificate in this PEM text")
        contexts = tls.client_context(authorities, self._chain), tls.client_context(authorities, self._chain, dates=False)
        self._pem, self._authorities, (self._dated, self._dateless) = authorities, read, contexts

    def reload(self) -> None:
        """The node's own certificate was renewed."""
        self.follow(self._pem)

    def bare_context(self) -> ssl.SSLContext:
        """As ``context``, but without the node's own certificate."""
        return tls.client_context(self._pem, dates=not self._clock_is_behind)

    def judge(self, certificate: bytes) -> None:
        """After a handshake under ``context``. Raises ssl.SSLCertVerificationError."""
        digest, read = hashlib.sha256(certificate).hexdigest(), der.read(certificate)
        if digest not in self._seen.accepted:
            if self._clock_is_behind:
                self._judge_dates(read)
            self._seen = attrs.evolve(self._seen, accepted=(*self._seen.accepted, digest)[-ACCEPTED_MOST:])
        self._shown = read
        self.tell_time()

    def tell_time(self) -> None:
        """We are linked: the time that the clock shows now is one that this node has seen, if the server's certificate is good by it."""
        now = wallclock.now()
        if self._shown and self._shown.not_before <= now <= self._shown.not_after and now > self._seen.newest:
            self._seen = attrs.evolve(self._seen, newest=now)
            wallclock.never_before(now)
        if self._seen.accepted != self._written.accepted or self._seen.newest - self._written.newest > KEEP_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Blocks for the disk. One that is full stops nothing: it is tried again the next time."""
        if self._seen == self._written:
            return
        try:
            files.write_atomically(self._file, self._seen.encode(), files.SECRET_MODE)
            self._written = self._seen
        except OSError as exc:
            log.warning("cannot keep the newest time and the server's certificate", file=self._file, error=exc)

    @property
    def _clock_is_behind(self) -> bool:
        return wallclock.now() < self._seen.newest

    def _judge_dates(self, shown: Certificate) -> None:
        vouching = [each for each in self._authorities if shown.is_signed_by(each)]
        for each in (shown, *vouching[:1]):
            if not each.not_before <= self._seen.newest <= each.not_after:
                valid = f"from {wallclock.rfc3339(each.not_before)} to {wallclock.rfc3339(each.not_after)}"
                raise ssl.SSLCertVerificationError(
                    1,
                    f"this machine's clock says {wallclock.now_rfc3339()}, but it was {wallclock.rfc3339(self._seen.newest)} already; and the server "
                    f"shows a certificate that this node has not accepted before, valid {valid}: set the clock",
                )

    def _kept(self) -> Seen:
        try:
            return Seen.decode(self._file.read_bytes())
        except FileNotFoundError:
            return Seen()
        except (OSError, ValueError, KeyError, TypeError) as exc:
            log.warning("the newest time cannot be read", file=self._file, error=exc)
            return Seen()


@attrs.frozen
class Bare:
    """The same trust for who shows no certificate of his own: one that has ended would be refused before a word is said."""

    trust: Trust

    @property
    def context(self) -> ssl.SSLContext:
        return self.trust.bare_context()

    def judge(self, certificate: bytes) -> None:
        self.trust.judge(certificate)
