"""What goes wrong around a control plane: each gives an error that names the value and the way out, and nothing is lost beyond what was damaged."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.clock import FAKETIME, faked
from tests.e2e.cluster import Cluster, sh
from tests.e2e.direct import CONFIG_MAPS, Direct, Refused, Unanswered

pytestmark = pytest.mark.root

PAGE_BYTES = 4096
BIG = "x" * 60_000


@contextlib.contextmanager
def opened(*flags: str) -> Iterator[Cluster]:
    made = Cluster("--disable-agent", *flags)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def plane() -> Iterator[Cluster]:
    """A control plane without a node, not started yet."""
    with opened() as made:
        yield made


@pytest.fixture(scope="module")
def serving() -> Iterator[Cluster]:
    """A running one, for what must not harm it."""
    with opened() as made:
        made.start()
        yield made
        assert made.is_ready()


def config_map(name: str, **values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}


def numbers(direct: Direct) -> set[str]:
    return {obj["metadata"]["name"] for obj in direct.get(CONFIG_MAPS)["items"]} - {"kube-root-ca.crt"}


# What a request may say.


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param("kind: [", "error parsing", id="no YAML"),
        pytest.param("apiVersion: v1\nkind: Gadget\nmetadata: {name: a}", 'no matches for kind "Gadget"', id="an unknown kind"),
        pytest.param("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 1}", "ConfigMap.data", id="a value of the wrong type"),
        pytest.param("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_B}", 'Invalid value: "A_B"', id="a bad name"),
        pytest.param("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndate: {a: b}", 'unknown field "date"', id="an unknown field"),
        pytest.param("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: gone}", 'namespaces "gone" not found', id="no such namespace"),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i, resources: {limits: {memory: much}}}]}",
            "quantities must match",
            id="a bad quantity",
        ),
        pytest.param("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}", "spec.containers: Required value", id="no containers"),
    ],
)
def test_a_bad_manifest_is_refused_with_the_field_and_the_value(serving: Cluster, manifest: str, expected: str) -> None:
    assert expected in serving.fails("create", "-f", "-", stdin=manifest)


def test_an_unknown_field_is_a_warning_where_that_is_asked_for(serving: Cluster) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: warned}\ndate: {a: b}"
    argv = serving.inside("kubectl", "--kubeconfig", serving.kubeconfig, "create", "--validate=warn", "-f", "-")
    done = subprocess.run(argv, input=manifest, capture_output=True, text=True, check=True)
    assert 'Warning: unknown field "date"' in done.stderr
    assert "created" in done.stdout


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x00" * 4096, id="noise"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="an unknown version"),
        pytest.param(b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", id="a body that is too long"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, id="headers without end"),
        pytest.param(b"", id="nothing"),
    ],
)
@pytest.mark.parametrize("encrypted", [True, False], ids=["in TLS", "in the clear"])
def test_noise_on_the_wire_ends_that_connection_alone(serving: Cluster, sent: bytes, encrypted: bool) -> None:
    from tests.e2e.direct import tls

    with contextlib.suppress(OSError), socket.create_connection((serving.inside_ip, 6443), timeout=10) as plain:
        wire = tls(serving).wrap_socket(plain, server_hostname=serving.inside_ip) if encrypted else plain
        wire.sendall(sent)
        if sent:
            assert b"200 OK" not in wire.recv(65536)
    assert serving.is_ready()


def test_malformed_bodies_are_answered_with_what_is_wrong(serving: Cluster) -> None:
    direct = Direct(serving)
    with pytest.raises(Refused, match="413"):
        direct.create(CONFIG_MAPS, config_map("huge", a="x" * (4 << 20)))
    with pytest.raises(Refused, match="415 UnsupportedMediaType"):
        direct.ask("POST", CONFIG_MAPS, config_map("a"), content_type="text/html")
    with pytest.raises(Refused, match="400 BadRequest"):
        direct.ask("GET", f"{CONFIG_MAPS}?limit=many")
    with pytest.raises(Refused, match="404"):
        direct.get("/apis/nowhere/v1/things")
    with pytest.raises(Refused, match="405 MethodNotAllowed"):
        direct.ask("POST", "/api/v1/nodes/x/status", {})


def test_a_bad_token_and_no_token_are_told_apart_from_a_missing_right(serving: Cluster) -> None:
    for token in ("nonsense", "a.b.c", "é"):
        with pytest.raises(Refused, match="401 Unauthorized"):
            Direct(serving, token=token).get(CONFIG_MAPS)
    with pytest.raises(Refused, match="401 Unauthorized"):
        Direct(serving, anonymous=True).get(CONFIG_MAPS)
    server = ["--server", f"https://{serving.inside_ip}:6443", "--certificate-authority", str(serving.data / "server" / "tls" / "server-ca.crt")]
    assert "You must be logged in to the server" in serving.fails("--kubeconfig=/dev/null", *server, "--token=nonsense", "get", "pods")


# What the command line and the configuration may say.


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--cluster-init"], "--cluster-init: several servers are not supported yet"),
        (["--datastore-endpoint=mysql://x"], "--datastore-endpoint: data is kept in SQLite"),
        (["--server", "https://other:6443"], "--server: a second server cannot join yet"),
        (["--https-listen-port=70000"], "--https-listen-port: '70000' will not do: a port is a number from 1 to 65535"),
        (["--service-cidr=10.42.0.0/16", "--cluster-dns=10.42.0.10"], "overlap; choose ranges that do not"),
        (["--node-taint=a=b:Sometimes"], "'a=b:Sometimes' will not do: a taint is KEY=VALUE:EFFECT"),
        (["--config=/nowhere.yaml"], "--config /nowhere.yaml: there is no such file"),
        (["--token=K10abc::server"], "--token is not complete"),
        (["--token-auth-file=/nowhere.csv"], "--token-auth-file"),
        (["--bind-address=203.0.113.9"], "cannot listen on 203.0.113.9:6443"),
        (["--write-kubeconfig=/proc/nowhere"], "--write-kubeconfig /proc/nowhere cannot be written"),
        (["--data-dir=/proc/nowhere"], "--data-dir"),
        (["--run-dir=/proc/nowhere"], "--run-dir /proc/nowhere cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_flag_ends_the_start_with_its_name_its_value_and_the_way_out(plane: Cluster, flags: list[str], expected: str) -> None:
    argv = ["server", *plane.paths(), "--disable-agent", "--node-ip", plane.inside_ip, "--write-kubeconfig", plane.kubeconfig, *flags]
    said = plane.run(*argv, code=2)
    assert expected in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["tls/serving.pem", "tls/server-ca.pem", "tls/admin.pem", "tls/service-account.key", "token"])
def test_a_damaged_key_is_named_and_nothing_is_made_in_its_place(plane: Cluster, name: str) -> None:
    plane.start()
    plane.stop()
    file = plane.data / "server" / name
    damaged = file.read_bytes()[:40]
    file.write_bytes(damaged)
    assert str(file) in plane.start_fails()
    assert file.read_bytes() == damaged
    assert "Traceback" not in plane.log_end(200)


def test_an_unknown_setting_in_the_file_is_named(plane: Cluster) -> None:
    file = plane.folder / "config.yaml"
    file.write_text("data-dri: /x\n")
    assert "there is no setting 'data-dri'" in plane.run("server", "--config", file, code=2)
    file.write_text("cluster-init: true\n")
    assert "cluster-init is refused" in plane.run("server", "--config", file, code=2)


def test_a_taken_port_and_a_taken_data_directory_are_named(serving: Cluster, plane: Cluster) -> None:
    holder = subprocess.Popen(plane.inside(sys.executable, "-c", HOLD))
    try:
        plane.until(lambda: ":6443" in sh(f"nsenter --net=/run/netns/{plane.name} ss -Hltn"), 10, "the port is taken")
        assert "cannot listen on 0.0.0.0:6443: Address already in use; stop what listens there" in plane.start_fails()
    finally:
        holder.kill()
        holder.wait()
    argv = ["server", "--data-dir", serving.data, "--disable-agent", "--https-listen-port=16443", "--write-kubeconfig", plane.kubeconfig]
    assert f"another edgek (process {serving.pid()}) runs with --run-dir" in serving.run(*argv, "--run-dir", serving.run_dir, code=2)
    assert "another edgek is running on" in serving.run(*argv, "--run-dir", plane.run_dir, code=2)


HOLD = "import socket; s = socket.socket(); s.bind(('', 6443)); s.listen(); s.accept()"


# What the disk may do.


def test_a_full_disk_refuses_writes_keeps_serving_and_loses_nothing(plane: Cluster) -> None:
    folder = plane.data / "server" / "db"
    folder.mkdir(parents=True)
    sh(f"mount -t tmpfs -o size=6m tmpfs {folder}")
    plane.start()
    direct = Direct(plane)
    written: set[str] = set()
    refusal = ""
    for number in range(200):
        try:
            direct.create(CONFIG_MAPS, config_map(f"n{number}", a=BIG))
            written.add(f"n{number}")
        except Refused as exc:
            refusal = str(exc)
            break
    assert f"free some space on the disk of {folder}" in refusal
    assert len(written) > 20
    assert numbers(direct) == written
    assert plane.is_ready()

    plane.stop()
    plane.start()
    assert numbers(direct) == written, "it starts and serves on a full disk"
    sh(f"mount -o remount,size=32m {folder}")
    direct.create(CONFIG_MAPS, config_map("afterwards"))
    plane.kill()
    plane.start()
    assert numbers(direct) == written | {"afterwards"}


def test_a_disk_without_any_room_ends_the_first_start_with_a_plain_word(plane: Cluster) -> None:
    folder = plane.data / "server" / "db"
    folder.mkdir(parents=True)
    sh(f"mount -t tmpfs -o size=16k tmpfs {folder}")
    said = plane.start_fails()
    assert str(folder) in said
    assert "Traceback" not in plane.log_end(200)


def test_a_damaged_page_costs_what_was_on_it_and_that_is_named(plane: Cluster) -> None:
    plane.start()
    direct = Direct(plane)
    for number in range(30):
        direct.create(CONFIG_MAPS, config_map(f"n{number}", a=f"<{number}>" + "y" * 1500))
    kept = numbers(direct)
    plane.stop()
    database = plane.data / "server" / "db" / "state.db"
    raw = bytearray(database.read_bytes())
    page = raw.index(b"<7>yyy") // PAGE_BYTES * PAGE_BYTES
    raw[page : page + PAGE_BYTES] = os.urandom(PAGE_BYTES)
    database.write_bytes(raw)
    assert plane.run("db", "--data-dir", plane.data, "check", code=1) != ""

    plane.start()
    found = numbers(direct)
    lost = kept - found
    assert "n7" in lost
    assert len(lost) < 6
    log = plane.log.read_text()
    for name in lost:
        assert f"configmaps default/{name}" in log
    assert log.count("object lost") == len(lost), log
    assert "store salvaged" in log
    assert list(database.parent.glob("state.db.damaged-*"))
    direct.create(CONFIG_MAPS, config_map("n7"))
    assert "The database is sound." in plane.run("db", "--data-dir", plane.data, "check")


def test_no_database_at_all_is_said_and_a_backup_helps(plane: Cluster) -> None:
    plane.start()
    direct = Direct(plane)
    direct.create(CONFIG_MAPS, config_map("kept"))
    copy = plane.folder / "copy.db"
    plane.run("db", "--data-dir", plane.data, "backup", copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    plane.stop()
    database = plane.data / "server" / "db" / "state.db"
    for file in database.parent.glob("state.db*"):
        file.unlink()
    database.write_bytes(os.urandom(65536))
    assert f"{database} is no readable database: put a backup in its place" in plane.start_fails()
    plane.run("db", "--data-dir", plane.data, "restore", copy)
    plane.start()
    assert numbers(direct) == {"kept"}
    assert "configmaps" in plane.run("db", "--data-dir", plane.data, "show")


# What the clock may say.


@pytest.mark.skipif(FAKETIME is None, reason="needs the package faketime")
def test_a_board_that_boots_in_1970_serves_and_goes_on_when_the_time_is_known(plane: Cluster) -> None:
    clock = plane.folder / "clock"
    clock.write_text("@1970-01-01 00:02:00\n")
    plane.environment = faked(clock)
    plane.start()
    direct = Direct(plane)
    early = direct.create(CONFIG_MAPS, config_map("early"))
    assert early["metadata"]["creationTimestamp"].startswith("1970-01-01")
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    plane.until(lambda: _answers(direct, account), 20, "the account is there")
    token = direct.create(f"{account}/token", {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    with pytest.raises(Refused, match="403"):
        Direct(plane, token=token).get(CONFIG_MAPS)

    clock.write_text("@2027-03-01 12:00:00\n")
    plane.until(lambda: _stamp(direct).startswith("2027-03-01"), 20, "the time is known")
    assert plane.is_ready()
    with pytest.raises(Refused, match="401"):
        Direct(plane, token=token).get(CONFIG_MAPS)
    assert numbers(direct) >= {"early"}

    clock.write_text("@2026-12-01 12:00:00\n")
    plane.until(lambda: _stamp(direct).startswith("2026-12-01"), 20, "the time went back")
    plane.kill()
    plane.start()
    assert numbers(direct) >= {"early"}
    plane.environment = {}
    plane.stop()
    plane.start()
    assert "early" in numbers(direct)


def _stamp(direct: Direct) -> str:
    direct.create(CONFIG_MAPS, config_map("now"))
    stamp: str = direct.get(f"{CONFIG_MAPS}/now")["metadata"]["creationTimestamp"]
    direct.delete(f"{CONFIG_MAPS}/now")
    return stamp


def _answers(direct: Direct, path: str) -> bool:
    try:
        direct.get(path)
    except (Refused, Unanswered):
        return False
    return True


# When it may be interrupted.


@pytest.mark.parametrize("after_s", [0.3, 0.6, 0.9, 1.2, 1.5, 2.0])
def test_a_first_start_that_is_killed_half_way_is_finished_by_the_next(plane: Cluster, after_s: float) -> None:
    plane.start(ready=False)
    due = threading.Timer(after_s, plane.kill)
    due.start()
    due.join()
    plane.start()
    direct = Direct(plane)
    direct.create(CONFIG_MAPS, config_map("works"))
    assert direct.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"] == "10.43.0.1"
    assert "The database is sound." in plane.run("db", "--data-dir", plane.data, "check")
