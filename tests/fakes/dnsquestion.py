"""Ask a DNS server as any client would."""

from __future__ import annotations

import dnslib

PATIENCE_S = 20.0


def addresses(name: str, server: str) -> list[str]:
    """The IPv4 addresses of that name. Raises OSError when nobody answers."""
    raw = dnslib.DNSRecord.question(name).send(server, 53, timeout=PATIENCE_S)
    return [str(record.rdata) for record in dnslib.DNSRecord.parse(raw).rr]
