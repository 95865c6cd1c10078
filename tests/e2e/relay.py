"""Somebody between an agent and its server: ends TLS with a certificate of his own, passes on what he reads, and writes it down.

``python -m tests.e2e.relay LISTEN_IP PORT SERVER_IP:PORT CHAIN RECORD``; one line on stdout says that he listens.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from pathlib import Path


def main(address: str, port: str, server: str, chain: str, record: str) -> None:
    near = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    near.load_cert_chain(chain)
    near.verify_mode = ssl.CERT_NONE
    far = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    far.check_hostname, far.verify_mode = False, ssl.CERT_NONE
    host, _, far_port = server.rpartition(":")
    with socket.create_server((address, int(port))) as listener, Path(record).open("ab", buffering=0) as heard:
        print("listening", flush=True)
        while True:
            raw, _ = listener.accept()
            with contextlib.suppress(OSError):
                client = near.wrap_socket(raw, server_side=True)
                upstream = far.wrap_socket(socket.create_connection((host, int(far_port))))
                threading.Thread(target=_pass_on, args=(client, upstream, heard), daemon=True).start()
                threading.Thread(target=_pass_on, args=(upstream, client, None), daemon=True).start()


def _pass_on(source: ssl.SSLSocket, to: ssl.SSLSocket, heard: object) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if heard is not None:
                heard.write(data)  # type: ignore[attr-defined]
            to.sendall(data)
    for each in (source, to):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(*sys.argv[1:])
