"""``edgek check`` on machines that are made unfit for it: by mounts, namespaces and filters of a process's own. It names what is wrong, and changes nothing."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.root

# From linux/filter.h, linux/seccomp.h: a socket(AF_NETLINK, ..., NETLINK_NETFILTER) is answered as by a kernel without one.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 93  # EPROTONOSUPPORT
SOCKET, AF_NETLINK, NETLINK_NETFILTER = {"x86_64": 41, "aarch64": 198}.get(os.uname().machine, 41), 16, 12
FILTER = (
    (LOAD, 0, 0, 0),
    (JUMP_IF_EQUAL, 0, 5, SOCKET),
    (LOAD, 0, 0, 16),
    (JUMP_IF_EQUAL, 0, 3, AF_NETLINK),
    (LOAD, 0, 0, 32),
    (JUMP_IF_EQUAL, 0, 1, NETLINK_NETFILTER),
    (RETURN, 0, 0, REFUSE),
    (RETURN, 0, 0, ALLOW),
)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def run(scene: str, arguments: str = "", *, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Exit code and words of ``edgek check``, after a scene in a mount and network namespace of its own. ``$EDGEK`` is the command."""
    command = f"{sys.executable} -B -m edgek"
    script = f"set -e\nmount --make-rprivate /\n{scene}\ncd {REPOSITORY}\nexec $PREFIX {command} check {arguments}"
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=before,
    )
    return done.returncode, done.stdout


def without_netfilter() -> None:
    packed = b"".join(struct.pack("<HBBI", *each) for each in FILTER)
    program = _Program(len(FILTER), packed)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0


def test_this_machine_is_fit_and_nothing_is_written(tmp_path: Path) -> None:
    code, said = run(f"mount -t tmpfs -o ro tmpfs {tmp_path}; mount -o remount,bind,ro /; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib")
    assert "This machine can run edgek." not in said, "a root that cannot be written has no room for logs and configuration"
    assert "/var/log is read-only, and --pod-logs-dir /var/log/pods is to be written there" in said
    assert "/etc is read-only, and --write-kubeconfig /etc/edgek is to be written there" in said
    assert "nftables takes our rules" in said, "it ran to its end without writing"
    assert code == 1


def test_a_fit_machine_is_left_as_it_was(tmp_path: Path) -> None:
    scene = f"mount -t tmpfs tmpfs {tmp_path}; ip link set lo up; nft list ruleset >{tmp_path}/before; ip link >>{tmp_path}/before"
    after = f"nft list ruleset >{tmp_path}/after; ip link >>{tmp_path}/after; cmp {tmp_path}/before {tmp_path}/after; find {tmp_path} -type f"
    script = f"{scene}; cd {REPOSITORY}; {sys.executable} -B -m edgek check --data-dir {tmp_path}/data --run-dir {tmp_path}/run && {after}"
    done = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert "This machine can run edgek." in done.stdout, done.stderr
    assert done.stdout.split()[-2:] == [f"{tmp_path}/before", f"{tmp_path}/after"] or done.stdout.split()[-2:] == [
        f"{tmp_path}/after",
        f"{tmp_path}/before",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-o noexec", "is mounted noexec"),
        ("-o size=1M", "1 MiB free for"),
        ("-o nr_inodes=100", "more files (inodes)"),
        ("-o ro", "is read-only"),
    ],
    ids=["noexec", "a full disk", "no inodes", "read-only"],
)
def test_a_data_directory_that_will_not_do(tmp_path: Path, options: str, said: str) -> None:
    code, found = run(f"mount -t tmpfs {options} tmpfs {tmp_path}", f"--data-dir {tmp_path}/data --disable-agent=false")
    assert said in found
    assert str(tmp_path) in found
    assert code == 1


def test_who_holds_the_port_is_named(tmp_path: Path) -> None:
    listening = f'{sys.executable} -c \'import socket, time; s = socket.create_server(("", 6443)); open("{tmp_path}/there", "w"); time.sleep(60)\' >/dev/null 2>&1'
    scene = f"ip link set lo up\n{listening} & holder=$!\nuntil [ -e {tmp_path}/there ]; do sleep 0.02; done\necho HOLDER $holder"
    code, found = run(scene)
    holder = found.split()[1]
    subprocess.run(["kill", holder], check=True)
    assert "port 6443/tcp is held by python" in found
    assert f"(process {holder})" in found
    assert code == 1


@pytest.mark.parametrize(
    ("controllers", "said"),
    [
        ("echo cpu pids >/sys/fs/cgroup/cgroup.controllers", "cgroup v2 has no memory controller"),
        ("mkdir /sys/fs/cgroup/cpu /sys/fs/cgroup/memory", "cgroup v1 has no pids controller"),
        ("true", "no cgroups are mounted at /sys/fs/cgroup"),
    ],
)
def test_cgroups_that_are_not_there(controllers: str, said: str) -> None:
    code, found = run(f"mount -t tmpfs tmpfs /sys/fs/cgroup; {controllers}")
    assert said in found
    assert code == 1


def test_a_kernel_without_nftables() -> None:
    code, found = run("true", before=without_netfilter)
    assert "the kernel has no nftables" in found
    assert "CONFIG_NF_TABLES" in found
    assert code == 1


def test_an_old_kernel() -> None:
    code, found = run("PREFIX='setarch --uname-2.6'")
    assert "is older than 5.4" in found
    assert code == 1


def test_a_clock_of_1970() -> None:
    code, found = run("PREFIX='faketime 1970-01-02'")
    assert "the clock says 1970-01-0" in found
    assert "date -s" in found
    assert code == 0, "edgek gets by"


def test_a_machine_without_a_hosts_file(tmp_path: Path) -> None:
    scene = f"mount -t tmpfs tmpfs {tmp_path}; cd {tmp_path}; mkdir upper work; mount -t overlay overlay -o lowerdir=/etc,upperdir=upper,workdir=work /etc"
    code, found = run(f"{scene}; rm /etc/hosts")
    assert "there is no /etc/hosts" in found
    assert code == 1


@pytest.mark.parametrize("command", ["server", "agent --join https://192.0.2.1:6443 --token x"])
def test_a_start_that_is_hopeless_says_so_in_the_same_words(tmp_path: Path, command: str) -> None:
    scene = f"mount -t tmpfs -o noexec tmpfs {tmp_path}; mount -t tmpfs tmpfs /sys/fs/cgroup; mkdir /sys/fs/cgroup/cpu /sys/fs/cgroup/pids"
    start = f"{sys.executable} -B -m edgek {command} --data-dir {tmp_path}/data --run-dir {tmp_path}/run; echo CODE $?; find {tmp_path}"
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", f"{scene}; cd {REPOSITORY}; {start}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert "cannot start" in done.stdout
    assert "cgroup v1 has no memory controller" in done.stdout
    assert done.stdout.split()[-3:] == ["CODE", "2", str(tmp_path)], "nothing was made"


def test_flags_are_looked_at_as_the_command_would() -> None:
    code, found = run("true", "agent --server https://192.0.2.1:6443 --flannel-backend none")
    assert "6443" not in found
    assert code == 0
    code, found = run("true", "--cluster-dns 192.0.2.9")
    assert "is not within --service-cidr" in found
    assert code == 2


VETH = "ip link add eth0 type veth peer name eth1"


@pytest.mark.parametrize(
    ("scene", "said", "expected"),
    [
        (f"{VETH}; ip addr add 10.42.7.1/24 dev eth0", "eth0 has the address 10.42.7.1, which is of --cluster-cidr 10.42.0.0/16", 1),
        (
            "nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'",
            "the firewall's chain ip filter FORWARD drops what no rule of its own lets through",
            0,
        ),
        (
            "ip link set lo up; ip link add flannel.1 type vxlan id 1 dstport 8472 local 127.0.0.1 dev lo",
            "flannel.1 is another network's VXLAN interface on UDP 8472",
            0,
        ),
    ],
    ids=["a LAN in the pods' range", "Docker's firewall", "a flannel of somebody else"],
)
def test_what_is_in_the_way_of_the_network_is_named(scene: str, said: str, expected: int) -> None:
    code, found = run(scene)
    assert said in found
    assert code == expected


@pytest.mark.parametrize(("port", "said"), [(53, "port 53/udp is held on every address by python"), (8472, "port 8472/udp is held by python")])
def test_who_holds_a_port_of_the_nodes_own_is_named(tmp_path: Path, port: int, said: str) -> None:
    bound = f's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", {port}))'
    listening = f'{sys.executable} -c \'import socket, time; {bound}; open("{tmp_path}/there", "w"); time.sleep(60)\' >/dev/null 2>&1'
    code, found = run(f"{listening} & echo HOLDER $!\nuntil [ -e {tmp_path}/there ]; do sleep 0.02; done")
    subprocess.run(["kill", found.split()[1]], check=True)
    assert said in found
    assert code == 1
