"""What the scripts that install and uninstall ask of edgek where the machine has no program for it: ``internal-tool share|verify|nft|unroute``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edgek.model.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["share"]:
            return _share()
        case ["verify", key, file, signature]:
            return _verify(Path(key), Path(file), Path(signature))
        case ["nft", program]:
            return _nft(program)
        case ["unroute"]:
            return _unroute()
    raise UsageError("share, verify KEY FILE SIGNATURE, nft PROGRAM, or unroute")


def _share() -> int:
    from edgek.host import bundled

    place = bundled.share()
    if place is None:
        raise UsageError("this edgek runs from a checkout; its scripts are in packaging/")
    print(place)
    return 0


def _verify(key: Path, file: Path, signature: Path) -> int:
    """An Ed25519 signature (RFC 8032), the key in PEM."""
    from edgek.host.signature import is_signed_by

    try:
        return 0 if is_signed_by(key.read_bytes(), file.read_bytes(), signature.read_bytes()) else 1
    except ValueError as exc:
        raise UsageError(f"{key} holds no public key: {exc}") from None


def _nft(program: str) -> int:
    from edgek.host.nft import Nft, NftError

    try:
        print(Nft().run(program), end="")
    except NftError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _unroute() -> int:
    """Take away the routes that we made."""
    from edgek.cni.backend import ROUTE_PROTOCOL
    from edgek.host import netlink

    with netlink.open_socket() as kernel:
        ours = [route for route in kernel.routes() if route.protocol == ROUTE_PROTOCOL]
        kernel.run(*(netlink.delete_route(route.destination, protocol=ROUTE_PROTOCOL) for route in ours))
    return 0
