"""A real edgek in a network namespace of its own, with data and run directories of its own: several can run beside each other, and beside a real one.

The namespace has no default route and no way out but a pair of links to where the tests run: that is an edge box with its uplink down.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = (sys.executable, "-m", "edgek")  # this checkout
COMMAND = (os.environ["EDGEK_PACKED"],) if "EDGEK_PACKED" in os.environ else SOURCE  # or the one file
START_S = 60.0
SETTLE_S = 90.0
PATIENCE = 3  # times what is long on a machine at ease: nobody waits for a limit where all is well
_numbers = itertools.count(os.getpid() % 200)


class Failed(AssertionError):
    """A command did not do what it should; the message is what it printed."""


class Cluster:
    """``start``, use, ``stop``; ``remove`` takes everything away. The folder lies outside pytest's: paths of sockets are short."""

    def __init__(self, *flags: str) -> None:
        self.name = f"ek-{uuid.uuid4().hex[:6]}"
        self.folder = Path("/tmp") / self.name
        self.data, self.run_dir = self.folder / "d", self.folder / "r"
        self.kubeconfig = self.folder / "kubeconfig"
        self.log = self.folder / "log"
        self.flags = flags
        self.command: Sequence[str] = COMMAND
        number = next(_numbers) % 250
        self.node_ip, self.outside_ip = f"198.51.100.{number}", f"198.18.{number}.1"
        self.inside_ip = f"198.18.{number}.2"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(parents=True)
        self.images = self.data / "agent" / "images"
        self.images.mkdir(parents=True)
        self._connect()

    def _connect(self) -> None:
        sh(f"ip netns add {self.name}")
        sh(f"ip link add {self.name} type veth peer name eth0 netns {self.name}")
        sh(f"ip addr add {self.outside_ip}/30 dev {self.name}; ip link set {self.name} up")
        sh(f"ip -n {self.name} link set lo up; ip -n {self.name} addr add {self.inside_ip}/30 dev eth0; ip -n {self.name} link set eth0 up")

    def inside(self, *argv: str | Path) -> list[str]:
        """The command as it runs where the node is. ``ip netns exec`` would hide the cgroups."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, argv)]

    # The server.

    def edgek(self, *arguments: str | Path) -> list[str]:
        return self.inside(*self.command, *arguments)

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """What a command of edgek prints, on both channels."""
        done = subprocess.run(self.edgek(*arguments), capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=180)
        if done.returncode != code:
            raise Failed(f"edgek {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def paths(self) -> list[str | Path]:
        return ["--data-dir", self.data, "--run-dir", self.run_dir]

    def start(self, *, ready: bool = True) -> None:
        argv = self.edgek(
            "server", *self.paths(), "--write-kubeconfig", self.kubeconfig, "--node-ip", self.inside_ip, "--node-name", "box", *self.flags
        )
        environment = {**os.environ, **self.environment}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, cwd=REPOSITORY, env=environment
            )
        if ready:
            self.until(self.is_ready, START_S, "the node is Ready")

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise Failed(f"edgek ended with {self.process.returncode}:\n{self.log_end()}")
        if not self.kubeconfig.exists():
            return False
        if "--disable-agent" in self.flags:
            return self.kubectl("get", "--raw", "/readyz", check=False) == "ok"
        found = self.kubectl("get", "node", "box", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", check=False)
        return found == "True"

    def start_fails(self) -> str:
        """The last line it says before it gives up, which it must within the time of a start."""
        self.start(ready=False)
        assert self.process is not None
        code = self.process.wait(START_S)
        self.process = None
        assert code == 2, self.log_end()
        return self.log_end(1)

    def stop(self) -> None:
        """As a service manager would."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise Failed(f"edgek did not stop within 30 s:\n{self.log_end()}") from None
            self.process = None

    def kill(self) -> None:
        """As the kernel would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def kill_containerd(self) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            _kill(int((self.run_dir / "containerd.pid").read_text().split()[0]))

    def power_cut(self) -> None:
        """All processes end at once, and the kernel forgets what it held for them: only the disk keeps what it has."""
        if self.process is not None:
            self.kill()
        self.kill_containerd()  # or it would tidy up behind its shims
        for pid in self.shims():
            _kill(int(pid))
        self.until(self._all_dead, 10, "all processes of pods have ended")
        self.until(self._unmounted, 10, "nothing is mounted any more")
        self.until(self._forgotten, 10, "the cgroups are gone")
        shutil.rmtree(self.run_dir)  # a tmpfs, on a real machine
        sh(f"ip netns del {self.name}; ip link del {self.name} 2>/dev/null || true")
        self._connect()

    def _all_dead(self) -> bool:
        left: set[str] = set()
        for group in self.cgroups():
            with contextlib.suppress(OSError):  # gone meanwhile
                left.update((Path(group) / "cgroup.procs").read_text().split())
        for pid in left:
            _kill(int(pid))
        return not left

    def _unmounted(self) -> bool:
        for mount in sorted(self.mounts(), reverse=True):
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
        return not self.mounts()

    def _forgotten(self) -> bool:
        for group in sorted(self.cgroups(), reverse=True):
            with contextlib.suppress(OSError):  # the kernel holds it for a moment after its last process
                Path(group).rmdir()
        return not self.cgroups()

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(Failed):
                self.stop()
        environment = {**os.environ, "EDGEK_DATA_DIR": str(self.data), "EDGEK_RUN_DIR": str(self.run_dir)}
        subprocess.run(self.inside(REPOSITORY / "packaging" / "uninstall.sh", "--node-only"), env=environment, capture_output=True, check=False)
        sh(f"ip netns del {self.name}; ip link del {self.name} 2>/dev/null || true")
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self) -> int:
        return int((self.run_dir / "edgek.pid").read_text())

    def log_end(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # Its clients.

    def kubectl(self, *arguments: str, stdin: str | bytes = "", check: bool = True, timeout_s: float = 120.0) -> str:
        """What it prints, without the last newline. Raises Failed with what it said."""
        argv = self.inside("kubectl", "--kubeconfig", self.kubeconfig, *arguments)
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(argv, input=raw, capture_output=True, check=False, timeout=timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise Failed(f"kubectl {' '.join(arguments)} took more than {timeout_s} s: {exc.stdout!r} {exc.stderr!r}\n{self.log_end()}") from None
        if check and done.returncode:
            raise Failed(
                f"kubectl {' '.join(arguments)}: {done.stderr.decode(errors='replace')}{done.stdout.decode(errors='replace')}\n{self.log_end()}"
            )
        return done.stdout.decode(errors="replace").rstrip("\n")

    def fails(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl says when it fails, which it must."""
        argv = self.inside("kubectl", "--kubeconfig", self.kubeconfig, *arguments)
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            raise Failed(f"kubectl {' '.join(arguments)} should have failed, it said: {done.stdout}")
        return done.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", *(["-l", selector] if selector else []))["items"]
        return found

    def ready(self, selector: str, count: int) -> None:
        """Wait until exactly so many pods are Ready and none other is there."""

        def enough() -> bool:
            pods = self.pods(selector)
            return len(pods) == count and all(is_ready(pod) for pod in pods)

        self.until(enough, SETTLE_S, f"{count} pods with {selector} are Ready", lambda: self.kubectl("describe", "pods", "-l", selector))

    def http(self, url: str, *, outside: bool = False) -> str:
        """The answer's body, asked from the node itself or from outside. Raises Failed."""
        argv = ["curl", "-sS", "--fail", "--max-time", "20", url]
        done = subprocess.run(argv if outside else self.inside(*argv), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{url}: {done.stderr}")
        return done.stdout

    def until(self, condition: Callable[[], bool], timeout_s: float, what: str, explain: Callable[[], str] = str) -> None:
        """Look again until it is so, and once more when the time is over. ``timeout_s`` is for a machine at ease. Raises Failed."""
        deadline = time.monotonic() + PATIENCE * timeout_s
        over = False
        while not condition():
            if over:
                raise Failed(f"after {PATIENCE * timeout_s} s it is not so that {what}\n{explain()[-4000:]}\n{self.log_end()}")
            time.sleep(0.2)
            over = time.monotonic() > deadline

    # What it leaves on the machine.

    def empty(self) -> dict[str, set[str]]:
        """The traces of a node that runs no pods: the rules of the API's own Service are there."""
        self.until(lambda: any("10.43.0.1 " in rule for rule in self.traces()["rules"]), 30, "the API's Service is served")
        return self.traces()

    def traces(self) -> dict[str, set[str]]:
        """Everything of pods that the machine holds for this node."""
        links = sh(f"ip -n {self.name} -o link").splitlines()
        rules = sh(f"nsenter --net=/run/netns/{self.name} nft list ruleset").splitlines()
        return {
            "mounts": self.mounts(),
            "cgroups": {path for path in self.cgroups() if "/pod" in path.rpartition("kubepods")[2]},
            "links": {line.split(":")[1].strip().split("@")[0] for line in links},
            "rules": {line.strip() for line in rules},
            # Those of the kernel's own choosing aside: they differ after a power cut.
            "addresses": {line for line in sh(f"ip -n {self.name} -o addr").splitlines() if "scope link" not in line},
            "routes": set(sh(f"ip -n {self.name} route").splitlines()),
            "pods": {path.name for path in (self.data / "agent" / "kubelet" / "pods").glob("*")},
            "networks": {path.name for path in (self.run_dir / "cni").glob("*")},
        }

    def mounts(self) -> set[str]:
        points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
        return {point for point in points if point.startswith(f"{self.folder}/")}

    def cgroups(self) -> set[str]:
        """In every hierarchy (v1), or in the one there is (v2)."""
        name = str(self.data).strip("/").replace("/", "-")
        tops = [top for pattern in (f"*/{name}", name) for top in Path("/sys/fs/cgroup").glob(f"{pattern}/kubepods")]
        return {str(path) for top in tops for path in (top, *top.rglob("*")) if path.is_dir()}

    def shims(self) -> set[str]:
        """The processes that hold this node's containers."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if b"containerd-shim" in words[0] and str(self.run_dir / "containerd.sock").encode() in words:
                    found.add(folder.name)
        return found

    def containerds(self) -> set[str]:
        return set(sh(f"pgrep -f 'containerd --confi[g] {self.data}/' || true").split())

    def ctr(self, *arguments: str) -> str:
        """containerd's own word for what it holds."""
        return sh(shlex.join(["ctr", "-a", str(self.run_dir / "containerd.sock"), "-n", "k8s.io", *arguments]))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def sh(line: str) -> str:
    return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp")


def restarts(pods: Sequence[dict[str, Any]]) -> int:
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", ()))
