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
EMPTY_SETTLE_S = 10.0
SETTLE_S = 45.0  # a volatile object may ride with a late write, and a bookmark is due
REST_S = 60.0
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
        time.sleep(EMPTY_SETTLE_S)
        before = server.server.memory_mb()
        token = server.cluster.run("token", *server.cluster.paths()).strip()
        with _room_to_watch(), _watch(server.access(), NODES) as nodes, _agents(server, token):
            found = _spent(server.server, "join", lambda: _until(nodes, AGENTS, _is_ready))
            time.sleep(SETTLE_S)
            found |= _memory(server.server, before, "joined") | _at_rest(server, "joined_")
            with _watch(server.access(), box.PODS) as pods:
                found |= _spent(server.server, "pods_running", lambda: _run_pods(server.access(), pods))
            time.sleep(SETTLE_S)
            memory, rest = _memory(server.server, before, "pods"), _at_rest(server, "")
        return {**found, **memory, **rest, "memory_per_agent_mb": memory["pods_per_agent_mb"]}
    finally:
        server.cluster.remove()


@contextlib.contextmanager
def _agents(server: Box, token: str) -> Iterator[None]:
    folder, log = server.cluster.folder / "hollow", server.cluster.folder / "hollow.log"
    share, started = AGENTS // PROCESSES, list[subprocess.Popen[bytes]]()
    try:
        for number in range(PROCESSES):
            own = folder / str(number)
            own.mkdir(parents=True)
            argv = hollow_agents.argv(f"https://{server.cluster.inside_ip}:6443", token, own, 1 + number * share, share)
            with log.open("ab") as out:
                started.append(subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, cwd=REPOSITORY))
        yield
        assert all(each.poll() is None for each in started), log.read_text()[:6000]
    finally:
        for each in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)  # what they hold in memory and have mounted goes with them
            each.wait()


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


def _until(watch: Watch, count: int, shows: Callable[[dict[str, Any]], bool]) -> None:
    """So many objects are as wanted, as the watch tells."""
    right, deadline = set[str](), time.monotonic() + DEADLINE_S
    while len(right) < count:
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
    grown = now["resident"] - before["resident"]
    return {f"{when}_resident_mb": now["resident"], f"{when}_anonymous_mb": now["anonymous"], f"{when}_per_agent_mb": grown / AGENTS}


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
