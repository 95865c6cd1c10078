"""Is everything in the packed file that it needs, and does it work together? Run inside it, by the build: ``edgek internal-selftest``.

Each check is a function; what it raises is what is wrong.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

import edgek
from edgek.agent.runtime import containerd, containerd_config, pause
from edgek.agent.runtime.cri import CriRuntime
from edgek.cni import setup
from edgek.host import bundled, pki, tls
from edgek.host.nft import Nft, NftError
from edgek.model import packed
from edgek.server.store import mending, schema

MACHINE = slice(18, 20)  # of an ELF file: e_machine
EMULATED = "EDGEK_SELFTEST_EMULATED"  # set where the file is for another kind of machine, and runs under qemu's user emulation
NO_NETFILTER = "ended with code 3"  # libnftables' word (NFT_EXIT_NONL) for what that emulation does not pass on
PROGRAMS = ("containerd", "ctr", "containerd-shim-runc-v2", "runc")


def imports() -> None:
    for module in pkgutil.walk_packages(edgek.__path__, "edgek."):
        importlib.import_module(module.name)


def data_files() -> None:
    for name in ("openapi", "columns", "roles", "objects"):
        assert packed.load(name), name  # type: ignore[arg-type]
    assert setup.BUILT.exists(), "the CNI shim"


def programs() -> None:
    for name in PROGRAMS:
        program = bundled.program(name)
        assert program, f"{name} is not there"
        subprocess.run([program, "--version"], check=True, capture_output=True)


def pause_image() -> None:
    """Its program is for the machine that Python is for."""
    mine = Path(sys.executable).read_bytes()
    assert pause.program(pause.ARCHITECTURES[platform.machine()])[MACHINE] == mine[MACHINE]


def nftables() -> None:
    """The helper answers; whether the kernel lets us is another matter (a build needs no root)."""
    nft = Nft()
    try:
        nft.run("list tables")
    except NftError as refused:
        if os.environ.get(EMULATED) and NO_NETFILTER in str(refused):
            print("selftest: libnftables is there, but the emulation does not let it reach the kernel")
        elif "not permitted" not in str(refused):
            raise
    finally:
        nft.close()


def sqlite() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "state.db")
        subprocess.run(mending.command("migrate", file), check=True)
        with sqlite3.connect(file) as connection:
            assert schema.version_of(connection) == schema.VERSION


def tls_round_trip() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        chain = Path(folder, "server.pem")
        authority = pki.make_authority("selftest")
        pki.save(chain, pki.issue(authority, pki.Subject("localhost", names=("localhost",), server=True)))
        trio.run(_talk, listener, tls.server_context(chain), tls.client_context(authority.certificate.decode()))


async def _talk(listener: socket.socket, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async def echo() -> None:
        await trio.lowlevel.wait_readable(listener)
        channel = tls.wrap_server(listener.accept()[0], server)
        await channel.handshake()
        await channel.send_all(await channel.receive_some())
        channel.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        channel = await tls.dial("127.0.0.1", listener.getsockname()[1], client, name="localhost")
        await channel.send_all(b"hello")
        assert await channel.receive_some() == b"hello"
        channel.close()


def containerd_answers() -> None:
    """It starts, its CRI part loads, and the pause image goes in. Needs root, as containerd does."""
    if os.geteuid() != 0:
        print("selftest: containerd is not started: that needs root")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = containerd_config.Settings(
            root=folder / "root",
            state=folder / "state",
            socket=folder / "containerd.sock",
            cni_bin=folder,
            cni_conf=folder,
            certs_dir=folder,
            pause_image=pause.REFERENCE,
            restrict_oom_score_adj=True,
        )
        trio.run(_start_and_stop, containerd.Child(settings, folder, folder))


async def _start_and_stop(child: containerd.Child) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(containerd.run, child)
        runtime = CriRuntime(child.config.socket, child.run_dir)
        assert await runtime.image(pause.REFERENCE)
        runtime.close()
        nursery.cancel_scope.cancel()
    await containerd.stop(child)


CHECKS: tuple[Callable[[], None], ...] = (imports, data_files, programs, pause_image, nftables, sqlite, tls_round_trip, containerd_answers)


def main(arguments: Sequence[str]) -> int:
    failed = 0
    for check in CHECKS:
        try:
            check()
        except Exception as error:  # the border of one check: the others are to be heard too
            failed += 1
            print(f"selftest: {check.__name__}: {error!r}", file=sys.stderr)
    print(f"selftest: {len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return 1 if failed else 0
