"""The Runtime protocol: what the kubelet needs of a container runtime, in values of its own.

``cri.py`` speaks it to containerd; ``tests/fakes/runtime.py`` keeps containers in memory. Both pass ``tests/contract/test_runtime.py``. Times are
seconds since the epoch, 0 for "not yet". Every call may be repeated: removing what is gone is success, starting what runs is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

if TYPE_CHECKING:
    import trio

ContainerState = Literal["created", "running", "exited", "unknown"]
Protocol_ = Literal["TCP", "UDP", "SCTP"]


class RuntimeFailure(Exception):
    """The runtime said no. ``reason`` is the kubelet's word for it (``RunContainerError``, ``CreateContainerConfigError`` ...)."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class ImageNotFound(RuntimeFailure):
    """The registry has no such image."""


class RuntimeGone(RuntimeFailure):
    """The runtime does not answer: try again."""


@attrs.frozen
class PortMapping:
    protocol: Protocol_
    container_port: int
    host_port: int
    host_ip: str = ""


@attrs.frozen
class SecurityContext:
    """Of a container, pod-level values already folded in. None means: as the image says."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: str = ""  # "", RuntimeDefault, Unconfined, Localhost/<absolute path>
    masked_paths: bool = True
    selinux: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Sandbox:
    """What is wanted of a pod's sandbox. ``annotations`` and ``labels`` come back in ``SandboxStatus``."""

    name: str
    namespace: str
    uid: str
    attempt: int
    hostname: str  # empty with host_network
    log_directory: str
    cgroup_parent: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    sysctls: Mapping[str, str] = attrs.field(factory=dict)
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_pid: bool = False
    host_users: bool = True
    privileged: bool = False
    security: SecurityContext = SecurityContext()
    runtime_handler: str = ""


@attrs.frozen
class Mount:
    container_path: str
    host_path: str
    read_only: bool = False
    propagation: Literal["private", "host_to_container", "bidirectional"] = "private"
    recursive_read_only: bool = False


@attrs.frozen
class Device:
    container_path: str
    host_path: str
    permissions: str = "mrw"


@attrs.frozen
class Resources:
    """cgroup values; 0 means none."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""


@attrs.frozen
class Container:
    """What is wanted of a container in a sandbox."""

    name: str
    attempt: int
    image: str  # the reference as the runtime knows it
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    env: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    devices: tuple[Device, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    log_path: str  # relative to the sandbox's log directory
    stdin: bool
    stdin_once: bool
    tty: bool
    resources: Resources
    security: SecurityContext
    pid_mode: Literal["container", "pod", "node", "target"] = "container"
    target_id: str = ""
    stop_signal: str = ""


@attrs.frozen
class SandboxStatus:
    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at: float
    ips: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    netns: str = ""  # path; empty for host network, or where a list did not ask
    pid: int = 0


@attrs.frozen
class ContainerStatus:
    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    image: str
    image_id: str  # repo@sha256:... where known
    created_at: float
    started_at: float
    finished_at: float
    exit_code: int
    reason: str  # Completed, Error, OOMKilled, or the runtime's word
    message: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    log_path: str = ""
    pid: int = 0


@attrs.frozen
class Image:
    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    user: str = ""  # what the image runs as: a name or a number, as it says
    pinned: bool = False


@attrs.frozen
class RegistryAuth:
    username: str = ""
    password: str = ""
    identity_token: str = ""
    auth: str = ""  # base64 of user:password
    server: str = ""  # only for this one, as a URL; empty: for whoever is asked


@attrs.frozen
class Usage:
    """Of one container (or a whole sandbox, ``container`` empty)."""

    sandbox_id: str
    container_id: str
    cpu_ns: int
    memory_working_set_bytes: int
    memory_rss_bytes: int
    at: float
    writable_bytes: int = 0


@attrs.frozen
class RuntimeEvent:
    """Something happened to a container or sandbox with this id: look at its pod again. Empty: events may have been missed, look at all."""

    id: str
    topic: str = ""
    exit_code: int = 0


@attrs.frozen
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


# What a node is judged by. containerd 2 has more to say, such as that cgroup v1 is deprecated: that is no reason.
CONDITIONS = ("RuntimeReady", "NetworkReady")


@attrs.frozen
class RuntimeCondition:
    """``type`` is one of ``CONDITIONS``."""

    type: str
    ready: bool
    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        """As upstream's kubelet writes it."""
        return f"{self.type}={str(self.ready).lower()} reason:{self.reason} message:{self.message}"


class Runtime(Protocol):
    async def conditions(self) -> Sequence[RuntimeCondition]:
        """How it is, by its own word; asked with a deadline of seconds. Raises RuntimeGone when it does not answer: it is not there, or it hangs."""
        ...

    async def version(self) -> tuple[str, str]:
        """Name and version: ``("containerd", "1.6.20")``. Raises RuntimeGone while it is not there."""
        ...

    async def run_sandbox(self, sandbox: Sandbox) -> str:
        """Its id, with the network up."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def sandboxes(self, *, uid: str = "") -> Sequence[SandboxStatus]:
        """All of ours, or those of one pod; ips and netns may be missing: ``sandbox`` has them."""
        ...

    async def sandbox(self, sandbox_id: str) -> SandboxStatus | None: ...

    async def create_container(self, sandbox_id: str, container: Container, sandbox: Sandbox) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """SIGTERM (or the image's signal), then SIGKILL after ``grace_s``; returns when it is over."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def containers(self, *, sandbox_id: str = "") -> Sequence[ContainerStatus]:
        """With states; times and exit codes only from ``container``."""
        ...

    async def container(self, container_id: str) -> ContainerStatus | None: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Raises ``trio.TooSlowError`` after ``timeout_s``."""
        ...

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: AsyncIterator[bytes] | None,
        stdout: trio.abc.SendStream | None,
        stderr: trio.abc.SendStream | None,
        resizes: AsyncIterator[tuple[int, int]] | None,
    ) -> int:
        """Run a command with streams; its exit code. The end of ``stdin`` is a real end of file for the command."""
        ...

    async def attach(
        self,
        container_id: str,
        *,
        tty: bool,
        stdin: AsyncIterator[bytes] | None,
        stdout: trio.abc.SendStream | None,
        stderr: trio.abc.SendStream | None,
        resizes: AsyncIterator[tuple[int, int]] | None,
    ) -> None:
        """The streams of the container's first process, until it ends or the caller goes."""
        ...

    async def images(self) -> Sequence[Image]: ...

    async def image(self, reference: str) -> Image | None: ...

    async def pull_image(self, reference: str, auths: Sequence[RegistryAuth], *, namespace: str = "") -> Image:
        """Raises ImageNotFound, RuntimeFailure."""
        ...

    async def import_images(self, archive: trio.Path) -> Sequence[str]:
        """Load a docker or OCI archive (plain, gzip or zstd); the references it brought."""
        ...

    async def remove_image(self, image_id: str) -> None: ...

    async def drop_partial_pulls(self) -> None:
        """Give back the room of what pulls that broke off have left; those that are under way go on."""
        ...

    async def image_filesystem(self) -> tuple[str, int, int]:
        """Mount point, bytes used by images, inodes used."""
        ...

    async def usage(self) -> Sequence[Usage]:
        """One entry for every running container."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Changes as they happen, for ever; ends never, but yields an empty event after a gap."""
        ...
