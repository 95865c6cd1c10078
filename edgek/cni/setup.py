"""What a node needs before its first pod: forwarding, an address of its own towards its pods, the plugin where containerd looks for it.

Everything may be done again, and is, at each start of the agent.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import orjson

from edgek.cni.backend import ROUTE_PROTOCOL
from edgek.cni.network import LOOPBACK_INDEX
from edgek.cni.uplink import Sight
from edgek.host import files, netlink, process
from edgek.host.netlink import Route
from edgek.model.errors import EdgekError, UsageError

NETWORK_NAME = "edgek"
SOCKET_VARIABLE = "EDGEK_CNI_SOCK"
PLUGIN_NAMES = ("edgek", "loopback")  # containerd asks for a loopback plugin of its own accord
SYSCTLS = {"net/ipv4/ip_forward": "1"}  # not IPv6's: a forwarding host ignores router advertisements and would lose its uplink
LABEL = "lo:edgek"  # of our addresses on lo: the uninstaller, and whoever wonders, knows them by it
COMPILERS = ("musl-gcc", "gcc", "cc")
FLAGS = ("-Os", "-static", "-s")  # 13 KB with musl, 700 KB with glibc
COMPILE_S = 60.0
CONFIGURATION = {"cniVersion": "0.4.0", "name": NETWORK_NAME, "plugins": [{"type": "edgek", "capabilities": {"portMappings": True}}]}

SOURCE = Path(__file__).with_name("shim.c")
BUILT = Path(__file__).with_name("shim")  # packaging puts one here; a packed file has neither source nor compiler
SCRIPT = Path(__file__).with_name("shim_script.py")
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")


class NoShim(EdgekError):
    """Neither a built shim, nor a compiler, nor a system Python to run the script."""


async def install(bin_dir: Path, conf_dir: Path) -> None:
    """Put plugin and configuration in their places. Raises NoShim."""
    first = bin_dir / PLUGIN_NAMES[0]
    if not _is_current(first):
        await _make(first)
    for name in PLUGIN_NAMES[1:]:
        _keep(bin_dir / name, first.read_bytes(), mode=0o755)
    _keep(conf_dir / "10-edgek.conflist", orjson.dumps(CONFIGURATION), mode=0o644)


def set_sysctls(root: Path = Path("/proc/sys")) -> None:
    """Of this network namespace. Raises UsageError when forwarding cannot be switched on."""
    for name, value in SYSCTLS.items():
        file = root / name
        try:
            if file.read_text().strip() != value:
                file.write_text(value)
        except OSError as error:
            message = f"{file} cannot be set to {value} ({error.strerror}): pods need forwarding; run edgek as root, in a container with --privileged"
            raise UsageError(message) from error


def hold(
    kernel: netlink.Socket,
    sight: Sight,
    gateway: IPv4Address | None,
    own: Sequence[IPv4Address],
    services: IPv4Network | None,
    source: IPv4Address | None,
) -> None:
    """Addresses that are this node's stay on ``lo`` when every cable is out; Services have a way out even where there is no default route.

    Translated packets to pods get the ``gateway`` as their source, never one of ``own``. Nothing is asked of the kernel that is there already.
    """
    there = {address for index, address in sight.addresses if index == LOOPBACK_INDEX}
    wanted = [(gateway, True)] if gateway else []
    wanted += [(address, False) for address in own]
    kernel.run(*(netlink.add_address(LOOPBACK_INDEX, each, 32, LABEL, as_source=may) for each, may in wanted if each not in there))
    if services is None:
        return
    way = Route(services, None, LOOPBACK_INDEX, source, protocol=ROUTE_PROTOCOL) if source and not sight.has_default_route else None
    seen = [route for route in sight.routes if route.destination == services and route.protocol == ROUTE_PROTOCOL]
    if way and way not in seen:
        kernel.run(netlink.set_route(services, LOOPBACK_INDEX, source=source, protocol=ROUTE_PROTOCOL))
    elif seen and not way:
        kernel.run(netlink.delete_route(services, protocol=ROUTE_PROTOCOL))


def let_go(kernel: netlink.Socket, address: IPv4Address) -> None:
    """Of an address that ``hold`` put there. Success when it is gone."""
    if (LOOPBACK_INDEX, address) in kernel.addresses():
        kernel.run(netlink.delete_address(LOOPBACK_INDEX, address, 32))


async def build(target: Path) -> bool:
    """Compile the shim with what is there. False where there is no compiler that can."""
    for compiler in COMPILERS:
        program = shutil.which(compiler)
        if program is None:
            continue
        done = await process.run([program, *FLAGS, "-o", target, SOURCE], timeout_s=COMPILE_S)
        if done.returncode == 0:
            return True
    return False


def _keep(file: Path, content: bytes, mode: int) -> None:
    """Written only when it differs: nothing changes on the disk at an ordinary start."""
    if not file.exists() or file.read_bytes() != content:
        files.write_atomically(file, content, mode)


def _is_current(plugin: Path) -> bool:
    """An upgrade brings a new one."""
    if not plugin.exists():
        return False
    if BUILT.exists():
        return plugin.read_bytes() == BUILT.read_bytes()
    return plugin.stat().st_mtime >= SOURCE.stat().st_mtime


async def _make(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.new")
    if not _copy_built(part) and not await build(part):
        _write_script(part)
    part.chmod(0o755)
    part.rename(target)


def _copy_built(target: Path) -> bool:
    if BUILT.exists():
        shutil.copy(BUILT, target)
    return BUILT.exists()


def _write_script(target: Path) -> None:
    python = next((path for path in _PYTHONS if Path(path).exists()), None)
    if python is None:
        raise NoShim("no built CNI shim, no C compiler and no /usr/bin/python3: install one of gcc, musl-tools or python3")
    target.write_text(f"#!{python} -IS\n{SCRIPT.read_text()}")
