"""containerd's configuration, in the words of 1.x (version 2) and of 2.x (version 3). Pure.

What is set here and why: ``restrict_oom_score_adj`` where we may not lower a score (without it runc dies with a message that does not say so), the
cgroupfs driver (the kubelet of edgek writes cgroups itself), no snapshotters and tracers that nobody uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

CAP_SYS_RESOURCE = 1 << 24
OOM_SCORE = -999  # the last to go, as the unit of every distribution has it

_UNUSED_V1 = (
    *("io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper"),
    *("io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"),
)
_UNUSED_V2 = (
    *("io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper"),
    *("io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.tracing.processor.v1.otlp"),
    *("io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"),
)


@attrs.frozen
class Settings:
    root: Path  # images and snapshots; stays
    state: Path  # sockets and shims; gone with a reboot
    socket: Path
    cni_bin: Path
    cni_conf: Path
    certs_dir: Path
    pause_image: str
    snapshotter: str = "overlayfs"
    restrict_oom_score_adj: bool = False
    runtimes: Mapping[str, Path] = attrs.field(factory=dict)  # further OCI runtimes: handler name -> program


def may_lower_oom_scores(status: str) -> bool:
    """``status`` is the text of /proc/self/status."""
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & CAP_SYS_RESOURCE)


def render(settings: Settings, version: tuple[int, int]) -> str:
    """The file for a containerd of this version (major, minor)."""
    tables = _common(settings, _UNUSED_V1 if version < (2, 0) else _UNUSED_V2, 2 if version < (2, 0) else 3)
    tables += _v1(settings) if version < (2, 0) else _v2(settings, version)
    return "\n\n".join(_table(name, values) for name, values in tables) + "\n"


_Value = str | int | bool | tuple[str, ...]
_Tables = list[tuple[str, dict[str, _Value]]]


def _common(settings: Settings, unused: tuple[str, ...], version: int) -> _Tables:
    score = 0 if settings.restrict_oom_score_adj else OOM_SCORE
    return [
        ("", {"version": version, "root": str(settings.root), "state": str(settings.state), "oom_score": score, "disabled_plugins": unused}),
        ("grpc", {"address": str(settings.socket)}),
        ("debug", {"level": "warn"}),
    ]


def _v1(settings: Settings) -> _Tables:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return [
        (cri, {**_runtime(settings), **_streaming(), "sandbox_image": settings.pause_image}),
        (f"{cri}.cni", {"bin_dir": str(settings.cni_bin), **_cni(settings)}),
        (f"{cri}.containerd", {"snapshotter": settings.snapshotter, "default_runtime_name": "runc"}),
        *_runtimes(settings, cri),
        (f"{cri}.registry", {"config_path": str(settings.certs_dir)}),
    ]


def _v2(settings: Settings, version: tuple[int, int]) -> _Tables:
    runtime, images = 'plugins."io.containerd.cri.v1.runtime"', 'plugins."io.containerd.cri.v1.images"'
    programs: dict[str, _Value] = {"bin_dirs": (str(settings.cni_bin),)} if version >= (2, 1) else {"bin_dir": str(settings.cni_bin)}
    return [
        ('plugins."io.containerd.grpc.v1.cri"', _streaming()),
        (runtime, _runtime(settings)),
        (f"{runtime}.cni", {**programs, **_cni(settings)}),
        (f"{runtime}.containerd", {"default_runtime_name": "runc"}),
        *_runtimes(settings, runtime),
        (images, {"snapshotter": settings.snapshotter}),
        (f"{images}.pinned_images", {"sandbox": settings.pause_image}),
        (f"{images}.registry", {"config_path": str(settings.certs_dir)}),
    ]


def _runtime(settings: Settings) -> dict[str, _Value]:
    return {"restrict_oom_score_adj": settings.restrict_oom_score_adj, "enable_unprivileged_ports": True, "enable_unprivileged_icmp": True}


def _streaming() -> dict[str, _Value]:
    return {"stream_server_address": "127.0.0.1", "stream_server_port": "0"}


def _cni(settings: Settings) -> dict[str, _Value]:
    return {"conf_dir": str(settings.cni_conf), "max_conf_num": 1}


def _runtimes(settings: Settings, plugin: str) -> _Tables:
    tables: _Tables = []
    for name, program in {"runc": None, **settings.runtimes}.items():
        options: dict[str, _Value] = {"SystemdCgroup": False}
        if program is not None:
            options["BinaryName"] = str(program)
        tables.append((f'{plugin}.containerd.runtimes."{name}"', {"runtime_type": "io.containerd.runc.v2"}))
        tables.append((f'{plugin}.containerd.runtimes."{name}".options', options))
    return tables


def _table(name: str, values: Mapping[str, _Value]) -> str:
    lines = [f"[{name}]"] if name else []
    return "\n".join([*lines, *(f"{key} = {_toml(value)}" for key, value in values.items())])


def _toml(value: _Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
