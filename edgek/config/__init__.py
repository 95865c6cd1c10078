"""Flags, a file and the environment become one frozen ``Config``, which also knows every path.

Every flag of ``edgek server`` is a line of ``options.OPTIONS``: as ``--data-dir`` on the command line, ``data-dir`` in the file,
``EDGEK_DATA_DIR`` in the environment, in that order of precedence. Names are k3s's where k3s has the same thing. Nothing here touches the machine
beyond reading that file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from edgek.config.options import DEFAULT_CONFIG_FILE, DEFAULT_DATA_DIR, OPTIONS, REFUSED, Option
from edgek.model.errors import UsageError


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
