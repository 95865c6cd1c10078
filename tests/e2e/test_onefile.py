"""The one file on a machine that has nothing: installed from a folder, upgraded under load, taken back, restarted, backed up, restored, removed.

The tests follow one another on the same machine, as its owner would.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgek.host import netlink
from tests.e2e.churn import deployment
from tests.e2e.fresh_root import INSIDE, FreshRoot
from tests.packaging.onefile import archive, release

pytestmark = pytest.mark.onefile

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build" / "amd64"
IMAGE, PORT = "docker.io/library/nginx:1.27", 30080
WORSE = "#!/bin/sh\n[ $1 != --version ] || { echo edgek worse; exit 0; }\n[ $1 != check ] || exit 0\n[ $1 != internal-tool ] || { echo $(dirname $0)/share; exit 0; }\nsleep 1; exit 3\n"
TRACES = """
ip -o link | grep -v ' eth0' | cut -d: -f2; ip route | grep -v eth0; awk '{print $5}' /proc/self/mountinfo | grep -v /run/credentials | sort
find /sys/fs/cgroup -path '*NAME*' -type d; find /usr/local /etc/systemd/system /opt /root -mindepth 1 | sort
ls -d /var/lib/edgek /var/lib/kubelet /run/edgek /etc/edgek /var/log/pods /var/log/containers 2>/dev/null
ps -eo comm= | grep -E 'edgek|containerd|runc|nginx'; true
"""


@pytest.fixture(scope="module")
def files(built: Path) -> Path:
    """The build's folder; ``next`` and ``worse`` hold two other versions."""
    _variant(built, "next", built / "key.pem", lambda tree: (tree / "marker").write_text("next"))
    _variant(built, "worse", built / "key.pem", lambda tree: (tree / "edgek").write_text(WORSE))
    return built


def _variant(work: Path, name: str, key: Path, change: object) -> None:
    tree = work / f"tree-{name}"
    shutil.copytree(BUILD / "tree", tree, symlinks=True)
    change(tree)  # type: ignore[operator]
    target = work / name / "edgek-0.2.0-linux-amd64"
    archive.pack(tree, BUILD / "launch", target, level=1)
    release.prepare(target, tree / "share" / "install.sh", key)


@pytest.fixture(scope="module")
def box(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshRoot]:
    yield from _machine(files, tmp_path_factory.mktemp("box"))


@pytest.fixture
def other(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshRoot]:
    yield from _machine(files, tmp_path_factory.mktemp("other"))


def _machine(files: Path, folder: Path) -> Iterator[FreshRoot]:
    made = FreshRoot(folder)
    try:
        for name in ("dist", "next", "worse"):
            shutil.copytree(files / name, made.root / "opt" / name)
        made.boot()
        yield made
    finally:
        made.remove()


def running(box: FreshRoot) -> dict[str, str]:
    """The container of each pod."""
    found = json.loads(box.run("kubectl get pods -l app=web -o json"))["items"]
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in found}


def install(box: FreshRoot) -> str:
    return box.run(f"INSTALL_EDGEK_SKIP_SIGNATURE=1 sh /opt/dist/install.sh --node-name box --node-ip {INSIDE} --cgroup-root /{box.outside}")


def traces(box: FreshRoot) -> str:
    """Its cgroups have a name of their own: with version 1 all machines here share the hierarchies."""
    return box.run(TRACES.replace("NAME", box.outside))


def ready(count: int) -> str:
    return f"test \"$(kubectl get deployment web -o 'jsonpath={{.status.readyReplicas}}/{{.status.replicas}}')\" = {count}/{count}"


class Load:
    """Asks again and again; ``failed`` counts what was not answered."""

    def __init__(self, box: FreshRoot) -> None:
        self.asked = self.failed = 0
        self._box, self._ended = box, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._ended.wait(0.05):
            self.asked += 1
            self.failed += self._box.fetch(PORT) != "one\n"

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def test_one_folder_makes_a_cluster_of_a_machine_that_has_nothing(box: FreshRoot, files: Path) -> None:
    assert box.run("command -v python3 containerd runc nft openssl curl kubectl; true") == ""
    (files / "before").write_text(traces(box))
    refused = box.run("sh /opt/dist/install.sh", code=1)
    assert "neither openssl (3.0 or newer) nor a former edgek is here" in refused
    assert traces(box) == (files / "before").read_text(), "nothing was changed"
    said = install(box)
    assert "box is Ready" in said
    assert "nginx:1.27" in box.run("edgek images list")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "NodePort", "selector": {"app": "web"}}}
    service["spec"]["ports"] = [{"port": 80, "nodePort": PORT}]  # type: ignore[index]
    objects = {"apiVersion": "v1", "kind": "List", "items": [deployment("web", 2, IMAGE), service]}
    (box.root / "root" / "web.json").write_text(json.dumps(objects))
    box.run("kubectl apply -f /root/web.json")
    box.until(ready(2))
    assert "k8s.io" in box.run("ctr namespaces list"), "a face of the same file"
    box.until_answers(PORT, "one\n")


def test_an_upgrade_is_not_felt_by_pods_and_their_users(box: FreshRoot) -> None:
    before, process = running(box), box.run("cat /run/edgek/edgek.pid")
    with Load(box) as load:
        said = box.run("edgek upgrade /opt/next/edgek-0.2.0-linux-amd64")
    assert "Checksum and signature are right" in said, "looked at by the edgek that was here"
    assert box.run("cat /run/edgek/edgek.pid") != process
    assert box.run('cat "$(edgek internal-tool share)/../marker"') == "next"
    assert running(box) == before
    assert load.asked > 20
    assert load.failed == 0


def test_a_version_that_does_not_come_up_is_taken_back_by_itself(box: FreshRoot) -> None:
    before = running(box)
    with Load(box) as load:
        said = box.run("edgek upgrade --timeout 10 /opt/worse/edgek-0.2.0-linux-amd64", code=1)
    assert "runs again, as before" in said
    assert box.run('cat "$(edgek internal-tool share)/../marker"') == "next"
    box.until("kubectl get --raw /readyz")
    assert running(box) == before
    assert load.failed == 0


def test_a_file_that_was_touched_is_refused(box: FreshRoot) -> None:
    process = box.run("cat /run/edgek/edgek.pid")
    box.run("printf x | dd of=/opt/worse/edgek-0.2.0-linux-amd64 bs=1 seek=5000000 conv=notrunc 2>/dev/null")
    assert "it is damaged, or was changed" in box.run("edgek upgrade /opt/worse/edgek-0.2.0-linux-amd64", code=1)
    box.run("cd /opt/worse; sha256sum edgek-0.2.0-linux-amd64 >edgek-0.2.0-linux-amd64.sha256")
    assert "was not signed by the one" in box.run("edgek upgrade /opt/worse/edgek-0.2.0-linux-amd64", code=1)
    assert box.run("cat /run/edgek/edgek.pid") == process


def test_after_a_reboot_everything_is_back(box: FreshRoot) -> None:
    box.halt()
    box.boot()
    box.until_answers(PORT, "one\n")


def test_a_backup_makes_another_machine_this_server(box: FreshRoot, other: FreshRoot) -> None:
    revision = int(json.loads(box.run("kubectl get --raw /apis/apps/v1/deployments"))["metadata"]["resourceVersion"])
    box.run("echo correct horse >/root/passphrase; edgek backup /root/backup --passphrase-file /root/passphrase")
    for name in ("backup", "passphrase"):
        shutil.copy(box.root / "root" / name, other.root / "root" / name)
    install(other)
    assert "another edgek is running" in other.run("edgek restore /root/backup --passphrase-file /root/passphrase", code=2)
    other.run("edgek killall; edgek restore /root/backup --passphrase-file /root/passphrase; systemctl start edgek")
    other.until(ready(2))
    assert int(json.loads(other.run("kubectl get --raw /apis/apps/v1/deployments"))["metadata"]["resourceVersion"]) > revision + 1_000_000
    assert other.run("edgek token") == box.run("edgek token")
    other.run("edgek uninstall")


def test_uninstalling_leaves_the_machine_as_it_was(box: FreshRoot, files: Path) -> None:
    box.run("rm /root/web.json /root/backup /root/passphrase; rm -rf /root/.kube; edgek uninstall")
    assert traces(box) == (files / "before").read_text()
    with pytest.raises(ConnectionRefusedError):  # the machine's own network works
        netlink.in_namespace(Path("/run/netns") / box.outside, lambda: socket.create_connection((INSIDE, PORT), 5))
