"""Volumes of the default class: claim and pod created -> Running beside a pod alone, claims bound at once, I/O inside a volume, and what it costs in memory."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.bench import box
from tests.bench.box import PODS, RUNNING_S, Box
from tests.bench.connection import Access, Watch
from tests.bench.figures import at_least, at_most, spread
from tests.fakes import images

LINES = {"with_claim_above_p50_ms": at_most(60), "100_bound_s": at_most(3), "services_mb": at_most(4)} | {
    "write_of_host_percent": at_least(95),
    "read_of_host_percent": at_least(95),
}
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ONE_BY_ONE = 20
AT_ONCE = 100
ROUNDS_AT_ONCE = 3
ROUNDS_OF_IO = 7
MB_OF_IO = 512
READS = 16  # of the same file, for the clock's hundredths of a second
SETTLE_S = 10.0
AT_ONCE_CLASS = {"metadata": {"name": "at-once"}, "provisioner": "hostpath.edgek.io", "volumeBindingMode": "Immediate"}


def measure() -> dict[str, float]:
    with box.started() as node:
        access = node.access()
        with access.connect() as client:
            client.ask("POST", CLASSES, AT_ONCE_CLASS, 201)
        box.run_pods(access, ["warm"])
        box.delete_pods(access)
        time.sleep(SETTLE_S)
        before = node.server.memory_mb()["anonymous"]
        run_with_claim(access, "first")
        clear(access)
        time.sleep(SETTLE_S)
        after = node.server.memory_mb()["anonymous"]
        found = {"services_mb": after - before}
        alone, claimed = list[float](), list[float]()
        for number in range(ONE_BY_ONE):
            alone += box.run_pods(access, [f"alone-{number}"])
            clear(access)
            claimed.append(run_with_claim(access, f"claimed-{number}"))
            clear(access)
        found |= spread("alone", (s * 1000 for s in alone), "ms") | spread("with_claim", (s * 1000 for s in claimed), "ms")
        found["with_claim_above_p50_ms"] = found["with_claim_p50_ms"] - found["alone_p50_ms"]
        bound, cpu = list[float](), list[float]()
        for turn in range(ROUNDS_AT_ONCE):
            time.sleep(2.0)
            spent = node.server.cpu_s()
            bound.append(bind_at_once(access, turn))
            cpu.append(node.server.cpu_s() - spent)
            clear(access)
        return found | {"100_bound_s": statistics.median(bound), "100_bound_cpu_s": statistics.median(cpu)} | io(node, access)


def claim(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, **spec}}


def pod_with(name: str) -> dict[str, Any]:
    made = box.pod(name)
    made["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    return made


def run_with_claim(access: Access, name: str) -> float:
    """Seconds from the creation of the claim until the pod that has it is Running, as a watcher sees it."""
    with access.connect() as client:
        watch = Watch(access, f"{PODS}?watch=1&resourceVersion={client.ask('GET', PODS)['metadata']['resourceVersion']}")
        began = time.monotonic()
        client.sock.sendall(client.encoded("POST", CLAIMS, claim(name)))
        assert client.receive()[0] == 201
        client.sock.sendall(client.encoded("POST", PODS, pod_with(name)))
        assert client.receive()[0] == 201
        while watch.next(RUNNING_S)["object"]["status"].get("phase") != "Running":
            pass
        took = time.monotonic() - began
        watch.close()
    return took


def bind_at_once(access: Access, turn: int) -> float:
    """Seconds until a hundred claims, created one after another, are Bound; each has a directory then."""
    with access.connect() as client:
        watch = Watch(access, f"{CLAIMS}?watch=1&resourceVersion={client.ask('GET', CLAIMS)['metadata']['resourceVersion']}")
        began, bound = time.monotonic(), set[str]()
        for number in range(AT_ONCE):
            client.sock.sendall(client.encoded("POST", CLAIMS, claim(f"turn-{turn}-{number}", storageClassName="at-once")))
            status, answer = client.receive()
            assert status == 201, answer
        while len(bound) < AT_ONCE:
            seen = watch.next(RUNNING_S)["object"]
            if seen["status"].get("phase") == "Bound":
                bound.add(seen["metadata"]["name"])
        took = time.monotonic() - began
        watch.close()
    return took


def clear(access: Access) -> None:
    """No pods, no claims, no volumes."""
    box.delete_pods(access)
    with access.connect() as client:
        client.ask("DELETE", CLAIMS, None, 200)
        deadline = time.monotonic() + RUNNING_S
        while client.ask("GET", "/api/v1/persistentvolumes")["items"]:
            assert time.monotonic() < deadline, "volumes do not go away"
            time.sleep(0.1)


def io(node: Box, access: Access) -> dict[str, float]:
    """Writing through to the disk and reading back, with the same program inside a volume and beside it, turn about."""
    run_with_claim(access, "io")
    (volume,) = [each for each in (node.cluster.data / "storage").iterdir() if each.name != ".edgek"]
    beside = node.cluster.data / "beside"
    beside.mkdir()
    program = node.cluster.folder / "busybox"
    program.write_bytes(Path(images.BUSYBOX).read_bytes())
    program.chmod(0o755)
    inside, outside = list[tuple[float, float]](), list[tuple[float, float]]()
    for turn in range(ROUNDS_OF_IO):
        for within in (True, False) if turn % 2 else (False, True):
            if within:
                inside.append(speed(["kubectl", "--kubeconfig", str(node.cluster.kubeconfig), "exec", "io", "--"], "busybox", "/v", node))
            else:
                outside.append(speed([], str(program), str(beside), node))
    assert not list(volume.iterdir()), "the files were elsewhere"
    write, host_write = (statistics.median(each[0] for each in rounds) for rounds in (inside, outside))
    read, host_read = (statistics.median(each[1] for each in rounds) for rounds in (inside, outside))
    return {
        "write_of_host_percent": write / host_write * 100,
        "read_of_host_percent": read / host_read * 100,
        "write_host_mb_per_s": host_write,
        "read_host_mb_per_s": host_read,
    }


def speed(prefix: list[str], program: str, folder: str, node: Box) -> tuple[float, float]:
    """MB/s of writing, and of reading what is in memory still, by the shell's clock, whose hundredths of a second ask for large files."""
    file = f"{folder}/file"
    write = f"{program} dd if=/dev/zero of={file} bs=1048576 count={MB_OF_IO} conv=fsync"
    read = f"{program} sh -c 'for each in {' '.join(map(str, range(READS)))}; do {program} dd if={file} of=/dev/null bs=1048576; done'"
    script = f"exec 2>&1; time {write}; time {read}; {program} rm {file}"
    said = subprocess.run(node.cluster.inside(*prefix, program, "sh", "-c", script), capture_output=True, text=True, check=True).stdout
    seconds = [float(found) for found in re.findall(r"real\s+0m ([0-9.]+)s", said)]
    assert len(seconds) == 2, said
    return MB_OF_IO / seconds[0], MB_OF_IO * READS / seconds[1]
