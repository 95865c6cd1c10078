"""A Debian 12 machine with systemd and hardly anything else, no Python, no containerd, no network but a cable to us: systemd-nspawn on a fresh root.

The root is made once into the cache and copied for each machine. Unlike the emulated machine it runs on this kernel, at full speed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.e2e.machine import BARE, base, run

INSIDE, OUTSIDE = "198.51.100.2", "198.51.100.1"
BOOT_S = 60.0


class FreshRoot:
    """``outside`` is the network namespace at the other end of its cable."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.outside = f"fr-{uuid.uuid4().hex[:6]}"
        self._process: subprocess.Popen[bytes] | None = None
        run("cp", "-a", base(BARE), self.root)
        (self.root / ".ready").unlink()
        (self.root / "etc" / "hostname").write_text("box\n")
        (self.root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")  # Debian's own installer writes one, and containerd wants it
        run("ip", "netns", "add", self.outside)
        run("ip", "-n", self.outside, "link", "set", "lo", "up")

    def boot(self) -> None:
        """Until systemd has started what it starts."""
        command = ["systemd-nspawn", "--quiet", "-D", self.root, "--register=no", "--keep-unit", "--private-network", "--capability=all"]
        # Its console must stay open; the filter lets runc have a keyring.
        self._process = subprocess.Popen(
            [*command, "--system-call-filter=@keyring @mount bpf", "-b"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait(lambda: bool(self._children()), "a first process")
        self._wait(lambda: self.try_run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), "systemd")
        self.run("for each in /sys/fs/cgroup/*; do mount -o remount,rw,bind $each || true; done 2>/dev/null")
        self._plug_in()

    def _plug_in(self) -> None:
        run("ip", "-n", self.outside, "link", "add", "cable", "type", "veth", "peer", "name", "eth0", "netns", self._children()[0])
        run("ip", "-n", self.outside, "addr", "add", f"{OUTSIDE}/24", "dev", "cable")
        run("ip", "-n", self.outside, "link", "set", "cable", "up")
        self.run(f"ip addr add {INSIDE}/24 dev eth0; ip link set eth0 up")

    def run(self, script: str, *, code: int = 0) -> str:
        """What a shell inside prints, on both channels."""
        done = self.try_run(script)
        assert done.returncode == code, f"{script}: {done.returncode}\n{done.stdout}\n{self.log()}"
        return done.stdout

    def try_run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._inside(script), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300)

    def until(self, script: str, seconds: float = 60.0) -> None:
        self._wait(lambda: self.try_run(script).returncode == 0, script, seconds)

    def log(self) -> str:
        return self.try_run("journalctl -u edgek --no-pager -o cat | tail -n 30").stdout

    def fetch(self, port: int) -> str:
        """By HTTP from the other end of the cable; empty where nobody answers."""
        command = ["nsenter", f"--net=/run/netns/{self.outside}", "curl", "-sS", "--max-time", "5", f"http://{INSIDE}:{port}/"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def until_answers(self, port: int, text: str) -> None:
        self._wait(lambda: self.fetch(port) == text, f"an answer at port {port}")

    def halt(self) -> None:
        """In order, as by the power button."""
        if self._process is None:
            return
        for pid in self._children():
            os.kill(int(pid), 37)  # SIGRTMIN+3, to systemd
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        self.halt()
        run("ip", "netns", "del", self.outside)
        shutil.rmtree(self.root, ignore_errors=True)

    def _inside(self, script: str) -> list[str]:
        return ["nsenter", "-t", self._children()[0], "-m", "-u", "-i", "-n", "-p", "-C", "sh", "-c", script]

    def _children(self) -> list[str]:
        assert self._process is not None
        assert self._process.poll() is None, "the machine ended"
        return Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()

    def _wait(self, is_there: Callable[[], bool], what: str, seconds: float = BOOT_S) -> None:
        until = time.monotonic() + seconds
        while not is_there():
            assert time.monotonic() < until, f"not in time: {what}\n{self.log() if self._children() else ''}"
            subprocess.run(["sleep", "0.1"], check=True)
