"""CRI v1 as tables: the messages and methods that ``cri.py`` uses, with the field numbers of k8s.io/cri-api.

What containerd sends beyond these fields is passed over; what an older containerd does not know it ignores.
"""

from __future__ import annotations

from edgek.host.message import EMPTY, Message, flag, labels, many, number, numbers, raw, sub, text, texts, unsigned
from edgek.host.rpc import Method

PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}
PROPAGATIONS = {"private": 0, "host_to_container": 1, "bidirectional": 2}
NAMESPACE_POD, NAMESPACE_CONTAINER, NAMESPACE_NODE, NAMESPACE_TARGET = 0, 1, 2, 3
PID_MODES = {"pod": NAMESPACE_POD, "container": NAMESPACE_CONTAINER, "node": NAMESPACE_NODE, "target": NAMESPACE_TARGET}
SECCOMP_RUNTIME_DEFAULT, SECCOMP_UNCONFINED, SECCOMP_LOCALHOST = 0, 1, 2
SANDBOX_READY = 0
CONTAINER_STATES = ("created", "running", "exited", "unknown")  # by number
# Signals are numbered by name in alphabetical order, the real-time ones last. 0 means: as the image says.
_SIGNALS = (
    *("SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT", "SIGKILL"),
    *("SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP"),
    *("SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN"),
)
_REAL_TIME = (*(f"SIGRTMINPLUS{step}" for step in range(1, 16)), *(f"SIGRTMAXMINUS{step}" for step in range(14, 0, -1)), "SIGRTMAX")
SIGNALS = {name: at for at, name in enumerate(("", *_SIGNALS, *_REAL_TIME))}

_INT64 = Message(value=number(1))
_UINT64 = Message(value=unsigned(1))
_SANDBOX_METADATA = Message(name=text(1), uid=text(2), namespace=text(3), attempt=number(4))
_CONTAINER_METADATA = Message(name=text(1), attempt=number(2))
_ID_MAPPING = Message(host_id=number(1), container_id=number(2), length=number(3))
_USER_NAMESPACE = Message(mode=number(1), uids=many(2, _ID_MAPPING), gids=many(3, _ID_MAPPING))
_NAMESPACES = Message(network=number(1), pid=number(2), ipc=number(3), target_id=text(4), userns_options=sub(5, _USER_NAMESPACE))
_SELINUX = Message(user=text(1), role=text(2), type=text(3), level=text(4))
_SECURITY_PROFILE = Message(profile_type=number(1), localhost_ref=text(2))
_RESOURCES = Message(
    cpu_period=number(1), cpu_quota=number(2), cpu_shares=number(3), memory_limit_in_bytes=number(4), oom_score_adj=number(5), cpuset_cpus=text(6),
    cpuset_mems=text(7), unified=labels(9), memory_swap_limit_in_bytes=number(10),
)  # fmt: skip

_DNS = Message(servers=texts(1), searches=texts(2), options=texts(3))
_PORT = Message(protocol=number(1), container_port=number(2), host_port=number(3), host_ip=text(4))
_SANDBOX_SECURITY = Message(
    namespace_options=sub(1, _NAMESPACES), selinux_options=sub(2, _SELINUX), run_as_user=sub(3, _INT64), readonly_rootfs=flag(4),
    privileged=flag(6), run_as_group=sub(8, _INT64), seccomp=sub(9, _SECURITY_PROFILE), apparmor=sub(10, _SECURITY_PROFILE),
)  # fmt: skip
_LINUX_SANDBOX = Message(cgroup_parent=text(1), security_context=sub(2, _SANDBOX_SECURITY), sysctls=labels(3))
SANDBOX_CONFIG = Message(
    metadata=sub(1, _SANDBOX_METADATA), hostname=text(2), log_directory=text(3), dns_config=sub(4, _DNS), port_mappings=many(5, _PORT),
    labels=labels(6), annotations=labels(7), linux=sub(8, _LINUX_SANDBOX),
)  # fmt: skip

_IMAGE_SPEC = Message(image=text(1), annotations=labels(2), user_specified_image=text(18), runtime_handler=text(19))
_MOUNT = Message(
    container_path=text(1), host_path=text(2), readonly=flag(3), selinux_relabel=flag(4), propagation=number(5), recursive_read_only=flag(8)
)
_DEVICE = Message(container_path=text(1), host_path=text(2), permissions=text(3))
_KEY_VALUE = Message(key=text(1), value=text(2))
_CAPABILITY = Message(add_capabilities=texts(1), drop_capabilities=texts(2))
_CONTAINER_SECURITY = Message(
    capabilities=sub(1, _CAPABILITY), privileged=flag(2), namespace_options=sub(3, _NAMESPACES), selinux_options=sub(4, _SELINUX),
    run_as_user=sub(5, _INT64), run_as_username=text(6), readonly_rootfs=flag(7), supplemental_groups=numbers(8), no_new_privs=flag(11),
    run_as_group=sub(12, _INT64), masked_paths=texts(13), readonly_paths=texts(14), seccomp=sub(15, _SECURITY_PROFILE),
    apparmor=sub(16, _SECURITY_PROFILE),
)  # fmt: skip
_LINUX_CONTAINER = Message(resources=sub(1, _RESOURCES), security_context=sub(2, _CONTAINER_SECURITY))
CONTAINER_CONFIG = Message(
    metadata=sub(1, _CONTAINER_METADATA), image=sub(2, _IMAGE_SPEC), command=texts(3), args=texts(4), working_dir=text(5), envs=many(6, _KEY_VALUE),
    mounts=many(7, _MOUNT), devices=many(8, _DEVICE), labels=labels(9), annotations=labels(10), log_path=text(11), stdin=flag(12),
    stdin_once=flag(13), tty=flag(14), linux=sub(15, _LINUX_CONTAINER), stop_signal=number(18),
)  # fmt: skip

_IP = Message(ip=text(1))
_NETWORK_STATUS = Message(ip=text(1), additional_ips=many(2, _IP))
_SANDBOX = Message(
    id=text(1), metadata=sub(2, _SANDBOX_METADATA), state=number(3), created_at=number(4), labels=labels(5), annotations=labels(6),
)  # fmt: skip
_SANDBOX_STATUS = Message(
    id=text(1), metadata=sub(2, _SANDBOX_METADATA), state=number(3), created_at=number(4), network=sub(5, _NETWORK_STATUS), labels=labels(7),
    annotations=labels(8),
)  # fmt: skip
_CONTAINER = Message(
    id=text(1), pod_sandbox_id=text(2), metadata=sub(3, _CONTAINER_METADATA), image=sub(4, _IMAGE_SPEC), image_ref=text(5), state=number(6),
    created_at=number(7), labels=labels(8), annotations=labels(9),
)  # fmt: skip
_CONTAINER_STATUS = Message(
    id=text(1), metadata=sub(2, _CONTAINER_METADATA), state=number(3), created_at=number(4), started_at=number(5), finished_at=number(6),
    exit_code=number(7), image=sub(8, _IMAGE_SPEC), image_ref=text(9), reason=text(10), message=text(11), labels=labels(12), annotations=labels(13),
    log_path=text(15),
)  # fmt: skip
_SANDBOX_FILTER = Message(id=text(1), label_selector=labels(3))
_CONTAINER_FILTER = Message(id=text(1), pod_sandbox_id=text(3))

_IMAGE = Message(
    id=text(1), repo_tags=texts(2), repo_digests=texts(3), size=unsigned(4), uid=sub(5, _INT64), username=text(6), pinned=flag(8),
)  # fmt: skip
_AUTH = Message(username=text(1), password=text(2), auth=text(3), server_address=text(4), identity_token=text(5), registry_token=text(6))

_FILESYSTEM_ID = Message(mountpoint=text(1))
_FILESYSTEM = Message(timestamp=number(1), fs_id=sub(2, _FILESYSTEM_ID), used_bytes=sub(3, _UINT64), inodes_used=sub(4, _UINT64))
_CPU = Message(timestamp=number(1), usage_core_nano_seconds=sub(2, _UINT64))
_MEMORY = Message(timestamp=number(1), working_set_bytes=sub(2, _UINT64), rss_bytes=sub(5, _UINT64))
_ATTRIBUTES = Message(id=text(1), labels=labels(3))
_STATS = Message(attributes=sub(1, _ATTRIBUTES), cpu=sub(2, _CPU), memory=sub(3, _MEMORY), writable_layer=sub(4, _FILESYSTEM))
_CONDITION = Message(type=text(1), status=flag(2), reason=text(3), message=text(4))

_SANDBOX_ID = Message(pod_sandbox_id=text(1))
_CONTAINER_ID = Message(container_id=text(1))
_OF_IMAGE = Message(image=sub(1, _IMAGE_SPEC))


def _runtime(name: str, request: Message, response: Message = EMPTY) -> Method:
    return Method(f"/runtime.v1.RuntimeService/{name}", request, response)


def _image(name: str, request: Message, response: Message = EMPTY) -> Method:
    return Method(f"/runtime.v1.ImageService/{name}", request, response)


VERSION = _runtime("Version", EMPTY, Message(version=text(1), runtime_name=text(2), runtime_version=text(3)))
STATUS = _runtime("Status", Message(verbose=flag(1)), Message(status=sub(1, Message(conditions=many(1, _CONDITION))), info=labels(2)))
RUN_SANDBOX = _runtime("RunPodSandbox", Message(config=sub(1, SANDBOX_CONFIG), runtime_handler=text(2)), _SANDBOX_ID)
STOP_SANDBOX = _runtime("StopPodSandbox", _SANDBOX_ID)
REMOVE_SANDBOX = _runtime("RemovePodSandbox", _SANDBOX_ID)
SANDBOX_STATUS = _runtime(
    "PodSandboxStatus", Message(pod_sandbox_id=text(1), verbose=flag(2)), Message(status=sub(1, _SANDBOX_STATUS), info=labels(2))
)
LIST_SANDBOXES = _runtime("ListPodSandbox", Message(filter=sub(1, _SANDBOX_FILTER)), Message(items=many(1, _SANDBOX)))
CREATE_CONTAINER = _runtime(
    "CreateContainer",
    Message(pod_sandbox_id=text(1), config=sub(2, CONTAINER_CONFIG), sandbox_config=sub(3, SANDBOX_CONFIG)),
    _CONTAINER_ID,
)
START_CONTAINER = _runtime("StartContainer", _CONTAINER_ID)
STOP_CONTAINER = _runtime("StopContainer", Message(container_id=text(1), timeout=number(2)))
REMOVE_CONTAINER = _runtime("RemoveContainer", _CONTAINER_ID)
LIST_CONTAINERS = _runtime("ListContainers", Message(filter=sub(1, _CONTAINER_FILTER)), Message(containers=many(1, _CONTAINER)))
CONTAINER_STATUS = _runtime(
    "ContainerStatus", Message(container_id=text(1), verbose=flag(2)), Message(status=sub(1, _CONTAINER_STATUS), info=labels(2))
)
UPDATE_RESOURCES = _runtime("UpdateContainerResources", Message(container_id=text(1), linux=sub(2, _RESOURCES)))
REOPEN_LOG = _runtime("ReopenContainerLog", _CONTAINER_ID)
EXEC_SYNC = _runtime(
    "ExecSync", Message(container_id=text(1), cmd=texts(2), timeout=number(3)), Message(stdout=raw(1), stderr=raw(2), exit_code=number(3))
)
ATTACH = _runtime("Attach", Message(container_id=text(1), stdin=flag(2), tty=flag(3), stdout=flag(4), stderr=flag(5)), Message(url=text(1)))
LIST_STATS = _runtime("ListContainerStats", EMPTY, Message(stats=many(1, _STATS)))

LIST_IMAGES = _image("ListImages", EMPTY, Message(images=many(1, _IMAGE)))
IMAGE_STATUS = _image("ImageStatus", Message(image=sub(1, _IMAGE_SPEC), verbose=flag(2)), Message(image=sub(1, _IMAGE), info=labels(2)))
PULL_IMAGE = _image(
    "PullImage", Message(image=sub(1, _IMAGE_SPEC), auth=sub(2, _AUTH), sandbox_config=sub(3, SANDBOX_CONFIG)), Message(image_ref=text(1))
)
REMOVE_IMAGE = _image("RemoveImage", _OF_IMAGE)
IMAGE_FILESYSTEM = _image("ImageFsInfo", EMPTY, Message(image_filesystems=many(1, _FILESYSTEM)))
