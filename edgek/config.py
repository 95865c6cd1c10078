"""Flags, a file and the environment become one frozen ``Config``, which also knows every path.

Every flag of ``edgek server`` is a line of ``OPTIONS``: as ``--data-dir`` on the command line, ``data-dir`` in the file, ``EDGEK_DATA_DIR`` in the
environment, in that order of precedence. Names are k3s's where k3s has the same thing. Nothing here touches the machine beyond reading that file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from edgek.model import durations, node_labels, selectors
from edgek.model.errors import UsageError

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


@attrs.frozen
class Config:
    """What was asked for, and where everything lies."""

    data_dir: Path
    run_dir: Path
    kubelet_dir: Path
    pod_logs_dir: Path
    cgroup_root: str
    node_name: str
    node_ip: str
    node_external_ip: tuple[str, ...]
    node_label: tuple[tuple[str, str], ...]
    node_taint: tuple[tuple[str, str, str], ...]
    https_listen_port: int
    bind_address: str
    advertise_address: str
    tls_san: tuple[str, ...]
    cluster_cidr: str
    service_cidr: str
    service_node_port_range: tuple[int, int]
    cluster_dns: str
    cluster_domain: str
    flannel_backend: str
    flannel_iface: str
    disable_agent: bool
    disable_scheduler: bool
    disable_controller_manager: bool
    backup_dir: Path
    backup_interval: float
    backup_keep: int
    node_monitor_grace_period: float
    default_not_ready_toleration_seconds: int
    default_unreachable_toleration_seconds: int
    register_node: bool
    join: str
    token: str
    token_file: Path | None
    agent_token: str
    token_auth_file: Path | None
    anonymous_auth: bool
    write_kubeconfig: Path
    write_kubeconfig_mode: int
    container_runtime_endpoint: str
    private_registry: Path
    log_level: str

    @property
    def owns_host_paths(self) -> bool:
        """The first node of a machine keeps kubelet's well-known folders; another data directory is another node beside it."""
        return self.data_dir == DEFAULT_DATA_DIR

    @property
    def server_dir(self) -> Path:
        return self.data_dir / "server"

    @property
    def database(self) -> Path:
        return self.server_dir / "db" / "state.db"

    @property
    def pki_dir(self) -> Path:
        return self.server_dir / "tls"

    @property
    def kept_token(self) -> Path:
        """The token by which nodes join, as the server made it or was given it."""
        return self.server_dir / "token"

    @property
    def kept_agent_token(self) -> Path:
        return self.server_dir / "agent-token"

    @property
    def agent_dir(self) -> Path:
        return self.data_dir / "agent"

    @property
    def refusal_file(self) -> Path:
        """Why the server takes no link from the node that runs here; not there while it does, or is away."""
        return self.run_dir / "refused"

    @property
    def images_dir(self) -> Path:
        return self.agent_dir / "images"

    @property
    def manifests_dir(self) -> Path:
        return self.agent_dir / "pod-manifests"

    @property
    def cni_dir(self) -> Path:
        return self.agent_dir / "cni"

    @property
    def containerd_dir(self) -> Path:
        return self.agent_dir / "containerd"

    @property
    def storage_dir(self) -> Path:
        """Where volumes of the class ``local-path`` lie."""
        return self.data_dir / "storage"

    @property
    def runtime_socket(self) -> Path:
        return Path(self.container_runtime_endpoint.removeprefix("unix://") or self.run_dir / "containerd.sock")


def load(arguments: Mapping[str, Any], environment: Mapping[str, str], file: Path | None, host_name: str) -> Config:
    """Merge the three sources. ``arguments`` holds what the command line said (strings, booleans for switches, lists for repeatable flags).

    Raises UsageError naming the value, where it stands, and what would do.
    """
    from_file = _read(file, required=True) if file else _read(DEFAULT_CONFIG_FILE, required=False)
    values = {option.field: _value(option, arguments, from_file, environment) for option in OPTIONS}
    data_dir: Path = values["data_dir"]
    first = data_dir == DEFAULT_DATA_DIR
    values["backup_dir"] = values["backup_dir"] or data_dir / "backups"
    values["kubelet_dir"] = values["kubelet_dir"] or (Path("/var/lib/kubelet") if first else data_dir / "agent" / "kubelet")
    values["pod_logs_dir"] = values["pod_logs_dir"] or (Path("/var/log/pods") if first else data_dir / "agent" / "pod-logs")
    # Another node's cgroups are named after its data directory, whole: /srv/two -> /srv-two.
    cgroup_root = str(values["cgroup_root"] or ("/" if first else "/" + str(data_dir).strip("/").replace("/", "-")))
    node_name = (values["node_name"] or host_name).lower()
    return _checked(Config(**{**values, "cgroup_root": cgroup_root, "node_name": node_name}))


def given_token(config: Config) -> str:
    """What --token or --token-file said. Raises UsageError."""
    if config.token or config.token_file is None:
        return config.token
    try:
        found = config.token_file.read_text().strip()
    except OSError as exc:
        raise UsageError(f"--token-file {config.token_file} cannot be read: {exc.strerror}") from None
    except ValueError:
        raise UsageError(f"--token-file {config.token_file} holds no text") from None
    if not found:
        raise UsageError(f"--token-file {config.token_file} is empty; `edgek token` on the server prints what belongs there")
    return found


def _checked(config: Config) -> Config:
    services = ipaddress.ip_network(config.service_cidr)
    if ipaddress.ip_address(config.cluster_dns) not in services:
        raise UsageError(f"--cluster-dns {config.cluster_dns} is not within --service-cidr {services}; choose an address of that range")
    if services.overlaps(ipaddress.ip_network(config.cluster_cidr)):
        raise UsageError(f"--service-cidr {services} and --cluster-cidr {config.cluster_cidr} overlap; choose ranges that do not")
    return config


def _value(option: Option, arguments: Mapping[str, Any], from_file: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    for source, given in (
        (f"--{option.name}", arguments.get(option.field)),
        (option.variable, environment.get(option.variable)),
        (option.also, environment.get(option.also)),
        (f"{option.name} in the configuration file", from_file.get(option.name)),
    ):
        if given is None or given == []:
            continue
        if option.many:
            listed = given if isinstance(given, Sequence) and not isinstance(given, str) else str(given).split(",")
            return tuple(_parsed(option, source, item) for item in listed)
        return _parsed(option, source, given)
    return option.default


def _parsed(option: Option, source: str, given: Any) -> Any:
    text = str(given).lower() if isinstance(given, bool) else str(given)
    try:
        return option.parse(text)
    except ValueError as exc:
        raise UsageError(f"{source}: {text!r} will not do: {exc}") from None


def _read(file: Path, *, required: bool) -> Mapping[str, Any]:
    try:
        text = file.read_text()
    except FileNotFoundError:
        if required:
            raise UsageError(f"--config {file}: there is no such file") from None
        return {}
    except PermissionError:
        if required:
            raise UsageError(f"--config {file} cannot be read; run edgek as root or choose another file") from None
        return {}
    import yaml  # only who has a configuration file pays for it

    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as exc:
        raise UsageError(f"{file} is not YAML: {exc}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{file} must hold `name: value` lines, it holds a {type(found).__name__}")
    known = {option.name for option in OPTIONS}
    for name in found:
        if name in REFUSED:
            raise UsageError(f"{file}: {name} is refused: {REFUSED[name]}")
        if name not in known:
            raise UsageError(f"{file}: there is no setting {name!r}; `edgek server --help` lists them (without the dashes)")
    return found
