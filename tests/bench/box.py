"""A real node to measure: tests/e2e's cluster, a small image, and pods that do nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.cgroup import Group
from tests.bench.connection import Access, Watch, administrator
from tests.bench.process import Process, below
from tests.e2e.cluster import Cluster
from tests.fakes import images

IMAGE = "example.org/box:1"
COMMAND = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
PODS = "/api/v1/namespaces/default/pods"
RUNNING_S = 60.0


class Box:
    """``start`` it; it is empty each time it was ``remove``d."""

    def __init__(self, *flags: str) -> None:
        self.cluster = Cluster(*flags)
        (self.cluster.images / "box.tar").write_bytes(images.busybox(IMAGE))

    @property
    def server(self) -> Process:
        assert self.cluster.process is not None
        return Process(self.cluster.process.pid)

    @property
    def containerd(self) -> Process:
        return Process(int((self.cluster.run_dir / "containerd.pid").read_text().split()[0]))

    @property
    def shims(self) -> list[Process]:
        return [process for process in below(self.cluster.run_dir / "containerd.sock") if process != self.containerd]

    def access(self) -> Access:
        return administrator(self.cluster.kubeconfig, self.cluster.inside_ip)

    def database_written(self) -> tuple[object, ...]:
        """Changes when anything is written to the database."""
        return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted((self.cluster.data / "server/db").iterdir()))

    def wait_for_account(self) -> None:
        """A new namespace has its default account a moment after it was made; pods need it."""

        def there() -> bool:
            return bool(self.cluster.kubectl("get", "serviceaccount", "default", "--ignore-not-found"))

        self.cluster.until(there, RUNNING_S, "the default account is there")


@contextlib.contextmanager
def started(*flags: str, group: Group | None = None) -> Iterator[Box]:
    """A node that is Ready; all of it in ``group``, if there is one."""
    box = Box(*flags, *(("--cgroup-root", group.pods) if group else ()))
    try:
        with group.entered() if group else contextlib.nullcontext():
            box.cluster.start()
        box.wait_for_account()
        yield box
    finally:
        box.cluster.remove()
        if group:
            group.remove()


def pod(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "command": list(COMMAND), "imagePullPolicy": "Never"}
    return {"metadata": {"name": name, "labels": {"app": "bench"}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}


def run_pods(access: Access, names: list[str]) -> list[float]:
    """Create pods at once; seconds from the first request until each is Running, as a watcher sees it."""
    with access.connect() as client:
        watch = Watch(access, f"{PODS}?watch=1&resourceVersion={client.ask('GET', PODS)['metadata']['resourceVersion']}")
        began, took = time.monotonic(), dict[str, float]()
        for name in names:
            client.sock.sendall(client.encoded("POST", PODS, pod(name)))
            status, answer = client.receive()
            assert status == 201, answer
        while len(took) < len(names):
            seen = watch.next(RUNNING_S)["object"]
            if seen["status"].get("phase") == "Running" and seen["metadata"]["name"] in names:
                took.setdefault(seen["metadata"]["name"], time.monotonic() - began)
        watch.close()
    return sorted(took.values())


def delete_pods(access: Access) -> None:
    """All of them, until they are gone."""
    with access.connect() as client:
        client.ask("DELETE", PODS, None, 200)
        deadline = time.monotonic() + RUNNING_S
        while client.ask("GET", PODS)["items"]:
            assert time.monotonic() < deadline, "pods do not go away"
            time.sleep(0.1)
