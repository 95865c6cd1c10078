"""What the machine has: read once from /proc and uname, and turned into the node's capacity."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from edgek.agent.kubelet.settings import KubeletSettings
from edgek.model import quantity

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}


@attrs.frozen
class Machine:
    cpus: int
    memory_bytes: int
    disk_bytes: int
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str
    swap_bytes: int = 0

    @classmethod
    def read(cls, disk: Path) -> Machine:
        uname, memory = os.uname(), meminfo()
        found = os.statvfs(disk)
        return cls(
            cpus=os.cpu_count() or 1,
            memory_bytes=memory["MemTotal"],
            disk_bytes=found.f_blocks * found.f_frsize,
            architecture=ARCHITECTURES.get(uname.machine, uname.machine),
            kernel=uname.release,
            os_image=_os_image(),
            machine_id=_text("/etc/machine-id"),
            system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
            boot_id=_text("/proc/sys/kernel/random/boot_id"),
            swap_bytes=memory.get("SwapTotal", 0),
        )

    def capacity(self, settings: KubeletSettings) -> dict[str, str]:
        """Written as the API gives it back (8388608Ki as 8Gi), so that it compares equal to what is shown there."""
        return {
            "cpu": str(self.cpus),
            "memory": _kibibytes(self.memory_bytes),
            "ephemeral-storage": _kibibytes(self.disk_bytes),
            "pods": str(settings.max_pods),
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
        }

    def allocatable(self, settings: KubeletSettings) -> dict[str, str]:
        """Capacity less what must stay free: the thresholds below which pods are evicted."""
        memory = max(0, self.memory_bytes - settings.system_reserved_memory_bytes)
        return {**self.capacity(settings), "memory": _kibibytes(memory), "ephemeral-storage": str(self.disk_bytes * 9 // 10)}


def _kibibytes(count: int) -> str:
    return quantity.canonical(f"{count // 1024}Ki")


def meminfo() -> Mapping[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * (1024 if value.endswith("kB") else 1)
    return found


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _text(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError:
        return ""
