"""A hundred nodes on one server: what each costs it in memory, all of them at rest in CPU, and how soon a thousand pods run on them.

The agents are real but for what they do to a machine (``hollow_agents.py``), and share the machine's cores with the server: beside each wall time
stands the CPU time of the server's process alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import box, hollow_agents
from tests.bench.box import Box
from tests.bench.connection import Access, Watch
from tests.bench.figures import at_most
from tests.bench.process import Process
from tests.e2e.cluster import REPOSITORY

LINES = {"memory_per_agent_mb": at_most(0.5), "cpu_percent": at_most(10), "pods_running_s": at_most(40)}
AGENTS, PROCESSES = 100, 4
DEPLOYMENTS, REPLICAS = 10, 100
DEADLINE_S = 240.0
QUIET_S = 3.0  # a server that has used no CPU for so long has begun
SETTLE_S = 45.0  # a volatile object may ride with a late write, and a bookmark is due
REST_S = 60.0
ONE_LIFE = {"EDGEK_BEGUN_ANEW": "1"}  # a process of many agents cannot begin again when one of them has made its keys
WATCHED_FOLDERS = 2  # by each agent: its manifests and its storage drivers
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
NODES = "/api/v1/nodes"
DEPLOYMENTS_PATH = "/apis/apps/v1/namespaces/default/deployments"


def measure() -> dict[str, float]:
    server = Box("--disable-agent", "--node-name", "hollow-server")
    try:
        server.cluster.start(ready=False)
        server.cluster.until(server.cluster.kubeconfig.exists, 30, "the API listens")
        server.wait_for_account()
        _until_quiet(server.server)
        empty = server.server.memory_mb()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_room_to_watch())
            join = _Join(server, stack)
            join.agents(1, 1)
            _until_quiet(server.server)
            one = server.server.memory_mb()
            found = {"empty_resident_mb": empty["resident"], "first_agent_mb": one["resident"] - empty["resident"]}
            found |= _spent(server.server, "join", lambda: join.agents(AGENTS - 1, PROCESSES))
            time.sleep(SETTLE_S)
            found |= _memory(server.server, one, "joined") | _at_rest(server, "joined_")
            with _watch(server.access(), box.PODS) as pods:
                found |= _spent(server.server, "pods_running", lambda: _run_pods(server.access(), pods))
            time.sleep(SETTLE_S)
            memory, rest = _memory(server.server, one, "pods"), _at_rest(server, "")
            join.check()
        return {**found, **memory, **rest, "memory_per_agent_mb": memory["pods_per_agent_mb"]}
    finally:
        server.cluster.remove()


class _Join:
    """Processes of hollow agents; what they hold in memory and have mounted goes with them when the stack is closed."""

    def __init__(self, server: Box, stack: contextlib.ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._token = server.cluster.run("token", *server.cluster.paths()).strip()
        self._log = server.cluster.folder / "hollow.log"
        self._started: list[subprocess.Popen[bytes]] = []
        self._joined = 0

    def agents(self, count: int, processes: int) -> None:
        """Join so many more; returns when all of them are Ready."""
        with _watch(self._server.access(), NODES) as nodes:
            names = {hollow_agents.name(self._joined + number) for number in range(1, count + 1)}
            share = -(-count // processes)
            for first in range(0, count, share):
                self._start(self._joined + first + 1, min(share, count - first))
            self._joined += count
            _until(nodes, names, _is_ready)

    def check(self) -> None:
        assert all(each.poll() is None for each in self._started), self._log.read_text()[:4000]

    def _start(self, first: int, count: int) -> None:
        folder = self._server.cluster.folder / "hollow" / str(first)
        folder.mkdir(parents=True)
        argv = hollow_agents.argv(f"https://{self._server.cluster.inside_ip}:6443", self._token, folder, first, count)
        with self._log.open("ab") as out:
            started = subprocess.Popen(
                argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, cwd=REPOSITORY, env={**os.environ, **ONE_LIFE}
            )
        self._started.append(started)
        self._stack.callback(_end, started)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _room_to_watch() -> Iterator[None]:
    """The kernel's limit is one for all processes of a user, and meant for one agent."""
    limit = int(INSTANCES.read_text())
    INSTANCES.write_text(str(limit + WATCHED_FOLDERS * AGENTS))
    try:
        yield
    finally:
        INSTANCES.write_text(str(limit))


# What is waited for.


@contextlib.contextmanager
def _watch(access: Access, path: str) -> Iterator[Watch]:
    with access.connect() as client:
        revision = client.ask("GET", path)["metadata"]["resourceVersion"]
    watch = Watch(access, f"{path}?watch=1&resourceVersion={revision}")
    try:
        yield watch
    finally:
        watch.close()


def _until_quiet(process: Process) -> None:
    spent, deadline = -1.0, time.monotonic() + DEADLINE_S
    while (now := process.cpu_s()) > spent + 0.02 and time.monotonic() < deadline:
        spent = now
        time.sleep(QUIET_S)


def _until(watch: Watch, wanted: set[str] | int, shows: Callable[[dict[str, Any]], bool]) -> None:
    """These objects, or so many, are as they should be, as the watch tells."""
    right, deadline = set[str](), time.monotonic() + DEADLINE_S
    while len(right) < wanted if isinstance(wanted, int) else not wanted <= right:
        event = watch.next(max(0.1, deadline - time.monotonic()))
        name = event["object"]["metadata"]["name"]
        (right.add if event["type"] != "DELETED" and shows(event["object"]) else right.discard)(name)


def _is_ready(node: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))


def _is_running(pod: dict[str, Any]) -> bool:
    return bool(pod["status"].get("phase") == "Running")


def _run_pods(access: Access, pods: Watch) -> None:
    with access.connect() as client:
        for number in range(DEPLOYMENTS):
            client.ask("POST", DEPLOYMENTS_PATH, _deployment(f"web-{number}"), 201)
    _until(pods, DEPLOYMENTS * REPLICAS, _is_running)


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": box.IMAGE, "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {"metadata": {"name": name}, "spec": {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}}


# What it costs.


def _spent(server: Process, name: str, work: Callable[[], None]) -> dict[str, float]:
    cpu, began = server.cpu_s(), time.monotonic()
    work()
    return {f"{name}_s": time.monotonic() - began, f"{name}_cpu_s": server.cpu_s() - cpu}


def _memory(server: Process, before: dict[str, float], when: str) -> dict[str, float]:
    now = server.memory_mb()
    grown = now["resident"] - before["resident"]  # since the first of them is there: what he made the server load, he made it load for all
    return {f"{when}_resident_mb": now["resident"], f"{when}_anonymous_mb": now["anonymous"], f"{when}_per_agent_mb": grown / (AGENTS - 1)}


def _at_rest(server: Box, prefix: str) -> dict[str, float]:
    process, written = server.server, _database(server)
    cpu, switches, wrote, began = process.cpu_s(), process.switches(), process.written_bytes(), time.monotonic()
    commits = 0
    while time.monotonic() < began + REST_S:
        time.sleep(0.2)
        now = _database(server)
        commits += now != written
        written = now
    spent = time.monotonic() - began
    return {
        f"{prefix}cpu_percent": (process.cpu_s() - cpu) / spent * 100,
        f"{prefix}wake_ups_per_s": (process.switches() - switches) / spent,
        f"{prefix}written_bytes_per_s": (process.written_bytes() - wrote) / spent,
        f"{prefix}database_writes_per_minute": commits / spent * 60,
    }


def _database(server: Box) -> int:
    """When the database was last written to."""
    folder: Path = server.cluster.data / "server/db"
    return max(file.stat().st_mtime_ns for file in folder.iterdir())
