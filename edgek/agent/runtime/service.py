"""The container runtime as a part of the agent: our own containerd or an outside one, ready to start pods."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import trio

from edgek.agent.runtime import containerd, images_folder, pause, registries
from edgek.agent.runtime.containerd_config import Settings, may_lower_oom_scores
from edgek.agent.runtime.cri import CriRuntime
from edgek.agent.runtime.patience import Patience
from edgek.agent.runtime.runtime import RuntimeFailure, RuntimeGone
from edgek.config import Config
from edgek.host import bundled, log

CNI_SOCKET_VARIABLE = "EDGEK_CNI_SOCK"  # containerd's plugins inherit it
OUTSIDE_READY_S = 30.0
EXTRA_RUNTIMES = ("crun", "runsc", "youki")  # usable as runtime handlers where they are installed


async def run(config: Config, cni_socket: Path, *, task_status: trio.TaskStatus[CriRuntime]) -> None:
    """Hands over the Runtime when it answers and the operator's images are in it. Raises CannotRun, BadRegistries."""
    shutil.rmtree(config.run_dir / "exec", ignore_errors=True)  # pipes of execs whose callers died with us
    source = registries.Source(config.private_registry, certs_dir(config))
    async with trio.open_nursery() as nursery:
        child = None if config.container_runtime_endpoint else child_of(config, cni_socket)
        patience = Patience()
        runtime = CriRuntime(config.runtime_socket, config.run_dir, source, bundles=child.bundles if child else None, patience=patience)
        try:
            if child is None:
                await _wait_for_outside(config, runtime)
            else:
                await nursery.start(partial(containerd.run, child, patience))
            for images in filter(None, (bundled.images(), config.images_dir)):
                await nursery.start(partial(images_folder.run, runtime, images))
            task_status.started(runtime)
            await trio.sleep_forever()
        finally:
            runtime.close()


def child_of(config: Config, cni_socket: Path) -> containerd.Child:
    """Where our containerd lives, for running and for stopping it."""
    settings = Settings(
        root=config.containerd_dir / "root",
        state=config.run_dir / "containerd",
        socket=config.runtime_socket,
        cni_bin=config.cni_dir / "bin",
        cni_conf=config.cni_dir / "net.d",
        certs_dir=certs_dir(config),
        pause_image=pause.REFERENCE,
        restrict_oom_score_adj=not may_lower_oom_scores(Path("/proc/self/status").read_text()),
        runtimes=containerd.installed(EXTRA_RUNTIMES),
    )
    return containerd.Child(settings, config.containerd_dir, config.run_dir, environment={CNI_SOCKET_VARIABLE: str(cni_socket)})


def certs_dir(config: Config) -> Path:
    return config.containerd_dir / "certs.d"


async def _wait_for_outside(config: Config, runtime: CriRuntime) -> None:
    try:
        await runtime.wait_until_there(OUTSIDE_READY_S)
    except RuntimeGone as gone:
        raise containerd.CannotRun(f"--container-runtime-endpoint {config.container_runtime_endpoint}: {gone}") from gone
    except RuntimeFailure as failure:
        hint = "its CRI plugin must be enabled (see disabled_plugins in its config.toml)"
        raise containerd.CannotRun(f"--container-runtime-endpoint {config.container_runtime_endpoint}: {failure}; {hint}") from failure
    name, version = await runtime.version()
    log.info("outside container runtime", name=name, version=version, socket=config.runtime_socket)
