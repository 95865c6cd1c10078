"""The table of flags: each with how its text is read, what it is without being said, and its help. And what k3s has that is refused by name.

Pure. A parser gives the value, or raises ValueError with the reason, which the operator is told beside the flag.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from edgek.model import durations, node_labels, selectors

DEFAULT_DATA_DIR = Path("/var/lib/edgek")
DEFAULT_RUN_DIR = Path("/run/edgek")
DEFAULT_CONFIG_FILE = Path("/etc/edgek/config.yaml")
DEFAULT_KUBECONFIG = Path("/etc/edgek/edgek.yaml")
DEFAULT_REGISTRIES = Path("/etc/edgek/registries.yaml")
KUBECONFIG_MODE = 0o600
LEAST_GRACE_S = 15.0


@attrs.frozen
class Option:
    """One flag. ``parse`` turns its text into the value and raises ValueError with the reason; a ``many`` flag may be repeated."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str
    many: bool = False
    also: str = ""  # another variable that says the same

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        return "EDGEK_" + self.field.upper()

    @property
    def is_switch(self) -> bool:
        return self.parse is _switch


def _text(value: str) -> str:
    return value


def _switch(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError("say true or false")
    return value.lower() in ("true", "1")


def _absolute(value: str) -> Path:
    return Path(value).absolute()


def _port(value: str) -> int:
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return int(value)


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _address_4(value: str) -> str:
    if ipaddress.ip_address(value).version != 4:
        raise ValueError("only IPv4 is served so far: say an address such as 192.0.2.7")
    return str(ipaddress.ip_address(value))


def _network(value: str) -> str:
    network = ipaddress.ip_network(value)
    if network.version != 4:
        raise ValueError("only IPv4 networks are served so far, such as 10.42.0.0/16")
    return str(network)


def _seconds(value: str) -> int:
    if not value.isdigit():
        raise ValueError("seconds are a whole number, such as 300")
    return int(value)


def _grace(value: str) -> float:
    seconds = durations.parse(value)
    if seconds < LEAST_GRACE_S:
        raise ValueError(f"nodes give a sign of life every 10 s: say at least {durations.spell(LEAST_GRACE_S)}")
    return seconds


def _interval(value: str) -> float:
    return 0.0 if value == "0" else durations.parse(value)


def _count(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise ValueError("say a number from 1")
    return int(value)


def _port_range(value: str) -> tuple[int, int]:
    first, _, last = value.partition("-")
    low, high = _port(first), _port(last)
    if low > high:
        raise ValueError("a range is FIRST-LAST, such as 30000-32767")
    return low, high


def _mode(value: str) -> int:
    mode = int(value, 8)
    if not 0 <= mode <= 0o777:
        raise ValueError("a file mode is octal, such as 0600")
    return mode


def _label(value: str) -> tuple[str, str]:
    key, equals, content = value.partition("=")
    if not key or not equals:
        raise ValueError("a label is KEY=VALUE")
    _key(key)
    if selectors.value_problem(content):
        raise ValueError(f"a label's value is up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends; {content!r} is not")
    if not node_labels.is_a_nodes_own(key):
        raise ValueError(f"a node may not give itself a label of Kubernetes' own; when it is there, `edgek kubectl label node NAME {value}`")
    return key, content


def _key(key: str) -> None:
    if selectors.key_problem(key):
        raise ValueError(f"{key!r} is no key: that is up to 63 letters, digits, '-', '_' and '.', perhaps below a domain, as in example.com/rack")


def _taint(value: str) -> tuple[str, str, str]:
    pair, colon, effect = value.rpartition(":")
    if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise ValueError("a taint is KEY=VALUE:EFFECT with the effect NoSchedule, PreferNoSchedule or NoExecute")
    key, _, content = pair.partition("=")
    _key(key)
    if selectors.value_problem(content):
        raise ValueError(f"{content!r} is no value: that is up to 63 letters, digits, '-', '_' and '.'")
    return key, content, effect


def _backend(value: str) -> str:
    if value not in ("vxlan", "host-gw", "none"):
        raise ValueError("a backend is vxlan, host-gw or none")
    return value


def _level(value: str) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise ValueError("a level is debug, info, warning or error")
    return value


OPTIONS: tuple[Option, ...] = (
    Option("data-dir", _absolute, DEFAULT_DATA_DIR, "where everything that lasts is kept"),
    Option("run-dir", _absolute, DEFAULT_RUN_DIR, "sockets and what does not outlive a reboot"),
    Option("kubelet-dir", _absolute, None, "pods' volumes; third-party storage drivers look here (/var/lib/kubelet)"),
    Option("pod-logs-dir", _absolute, None, "containers' logs (/var/log/pods)"),
    Option("cgroup-root", _absolute, None, "the cgroup below which pods run (/)"),
    Option("node-name", _text, "", "this node's name (the host's name)"),
    Option("node-ip", _address_4, "", "the address by which other nodes reach this one"),
    Option("node-external-ip", _address, (), "the address by which those outside reach this node: other nodes send VXLAN there", many=True),
    Option("node-label", _label, (), "a label KEY=VALUE for this node when it registers", many=True),
    Option("node-taint", _taint, (), "a taint KEY=VALUE:EFFECT for this node when it registers", many=True),
    Option("https-listen-port", _port, 6443, "the port of the API"),
    Option("bind-address", _address_4, "0.0.0.0", "the address on which the API listens"),
    Option("advertise-address", _address_4, "", "the address of the API that pods are told (the node's)"),
    Option("tls-san", _text, (), "another name or address for the API's certificate", many=True),
    Option("cluster-cidr", _network, "10.42.0.0/16", "the pods' addresses"),
    Option("service-cidr", _network, "10.43.0.0/16", "the Services' addresses"),
    Option("service-node-port-range", _port_range, (30000, 32767), "the ports of NodePort Services"),
    Option("cluster-dns", _address_4, "10.43.0.10", "the address of the cluster's DNS"),
    Option("cluster-domain", _text, "cluster.local", "the DNS domain of the cluster"),
    Option("flannel-backend", _backend, "vxlan", "how pods reach those of other nodes: vxlan, host-gw or none"),
    Option("flannel-iface", _text, "", "the interface by which other nodes reach this one (the default route's)"),
    Option("disable-agent", _switch, False, "run no node on this machine"),
    Option("disable-scheduler", _switch, False, "run no scheduler"),
    Option("disable-controller-manager", _switch, False, "run no controllers"),
    Option("node-monitor-grace-period", _grace, 45.0, "a node that gave no sign of life for so long is lost (45s)"),
    Option("default-not-ready-toleration-seconds", _seconds, 300, "how long pods stay on a node that is not ready"),
    Option("default-unreachable-toleration-seconds", _seconds, 300, "how long pods stay on a node that is lost"),
    Option("register-node", _switch, True, "this node makes its own Node object, again where it was deleted"),
    Option("join", _text, "", "the server whose cluster this agent joins: https://HOST:6443", also="EDGEK_URL"),
    Option("token", _text, "", "the secret by which agents join (made at the server's first start)"),
    Option("token-file", _absolute, None, "a file that holds it"),
    Option("agent-token", _text, "", "another secret, by which agents may join besides"),
    Option("backup-dir", _absolute, None, "where backups of the server go (backups below --data-dir)"),
    Option("backup-interval", _interval, 86400.0, "how often one is made, such as 12h; 0: never (24h)"),
    Option("backup-keep", _count, 3, "how many of them stay"),
    Option("token-auth-file", _absolute, None, 'static tokens: lines of token,user,uid,"group,group"'),
    Option("anonymous-auth", _switch, False, "let requests without credentials in, as system:anonymous"),
    Option("write-kubeconfig", _absolute, DEFAULT_KUBECONFIG, "where the administrator's kubeconfig goes"),
    Option("write-kubeconfig-mode", _mode, KUBECONFIG_MODE, "its file mode"),
    Option("container-runtime-endpoint", _text, "", "the socket of a containerd of your own"),
    Option("private-registry", _absolute, DEFAULT_REGISTRIES, "registries, mirrors and their credentials"),
    Option("log-level", _level, "info", "debug, info, warning or error"),
)

# What k3s has and edgek has not, or not yet: refused by name, never ignored.
REFUSED: Mapping[str, str] = {
    "cluster-init": "several servers are not supported yet; this server keeps its data in SQLite",
    "datastore-endpoint": "data is kept in SQLite below --data-dir; other stores are not supported yet",
    "server": "a second server cannot join yet; an agent names its server with --join, EDGEK_URL, the key join, or --server on its command line",
    "etcd-snapshot-schedule-cron": "say --backup-interval, such as 12h",
    "etcd-snapshot-retention": "say --backup-keep",
    "etcd-snapshot-dir": "say --backup-dir",
    "secrets-encryption": "encryption at rest is not supported yet; put --data-dir on an encrypted disk",
    "disable": "edgek deploys no packaged components, so there is none to disable",
    "kubelet-arg": "the kubelet is part of edgek and takes edgek's own flags",
    "kube-apiserver-arg": "the API server is part of edgek and takes edgek's own flags",
    "kube-controller-manager-arg": "the controllers are part of edgek and take edgek's own flags",
    "kube-scheduler-arg": "the scheduler is part of edgek and takes edgek's own flags",
    "kube-proxy-arg": "the Service proxy is part of edgek and takes edgek's own flags",
    "kube-cloud-controller-manager-arg": "there is no cloud controller in edgek",
    "docker": "edgek drives containerd; Docker is not supported",
    "rootless": "edgek needs root for cgroups, mounts and network namespaces",
    "selinux": "SELinux labels for containers are not supported yet",
    "default-local-storage-path": "volumes of the class local-path lie below --data-dir",
}
