"""The API of the server on this machine, as its administrator: for commands that run beside it."""

from __future__ import annotations

from edgek.client.client import Client
from edgek.client.https import HttpsTransport, Server
from edgek.config import Config
from edgek.host import tls
from edgek.model.errors import UsageError

# What such a command must know of the server's flags, to find it.
OPTIONS = ("data-dir", "run-dir", "bind-address", "https-listen-port")


def admin(config: Config) -> tuple[Client, HttpsTransport]:
    """Raises UsageError when there are no keys here, or they are not ours to read."""
    authority, chain = config.pki_dir / "server-ca.crt", config.pki_dir / "admin.pem"
    try:
        context = tls.client_context(authority.read_text(), chain)
    except FileNotFoundError:
        raise UsageError(
            f"{config.pki_dir} holds no keys: start `edgek server` once, or name its --data-dir; on an agent, ask on its server"
        ) from None
    except PermissionError:
        raise UsageError(f"{config.pki_dir} is root's; try with sudo") from None
    host = "127.0.0.1" if config.bind_address == "0.0.0.0" else config.bind_address
    transport = HttpsTransport(Server(host, config.https_listen_port, context))
    return Client(transport, "edgek"), transport
