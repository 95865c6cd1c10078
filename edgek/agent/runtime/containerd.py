"""Supervise containerd as a child that outlives us: start it, adopt it after our own restart, start it again when it dies.

It runs in a session of its own with root, state and socket of its own, so that neither our death nor an upgrade touches a pod. A pid file with the
start time of the process and a digest of its configuration says whether what runs is ours and up to date. With an outside endpoint nothing here runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import trio

from edgek.agent.runtime import containerd_config, pause, shims
from edgek.agent.runtime.cri import CriRuntime
from edgek.agent.runtime.patience import Patience
from edgek.agent.runtime.runtime import RuntimeFailure, RuntimeGone
from edgek.host import files, log, process, systemd, watch
from edgek.model.errors import EdgekError

READY_S = 60.0  # a slow card after a power cut: bolt checks its files
STOP_S = 10.0  # between TERM and KILL
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the next start, by failures in a row
HEALTHY_S = 60.0  # a containerd that lived this long starts the row anew
LOG_BYTES = 8 << 20  # of containerd.log; one former file is kept beside it
VERSION_TIMEOUT_S = 20.0
PREPARE_AGAIN_S = 0.5  # while containerd is away
STARTING = 'msg="starting containerd"'  # its first line
COMPLAINTS = ("level=fatal", "level=error", "failed to load plugin", "containerd: ")


class CannotRun(EdgekError):
    """There is no containerd, or it does not come up. The message says what to do."""


@attrs.frozen
class Child:
    """Where our containerd lives."""

    config: containerd_config.Settings
    folder: Path  # of its configuration, pid file and log
    run_dir: Path
    program: str = "containerd"
    environment: Mapping[str, str] = attrs.field(factory=dict)  # its plugins inherit it
    prefix: tuple[str, ...] = ()  # nsenter and the like

    @property
    def config_file(self) -> Path:
        return self.folder / "config.toml"

    @property
    def pid_file(self) -> Path:
        return self.run_dir / "containerd.pid"

    @property
    def bundles(self) -> Path:
        return self.config.state / shims.BUNDLES

    @property
    def log_file(self) -> Path:
        return self.folder / "containerd.log"


@attrs.frozen
class _Alive:
    pid: int
    descriptor: int  # a pidfd: readable when it has ended


async def run(child: Child, patience: Patience | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Until cancelled; containerd goes on then. Started means: it answers, and pods can start. Raises CannotRun when the first start fails."""
    version = await installed_version(child)
    config = containerd_config.render(child.config, version)
    alive = await _adopt(child, config) or await _start(child, config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_bound_log, child.log_file)
        nursery.start_soon(_keep_alive, child, config, alive, patience or Patience())
        await _prepare(child)
        await _tidy(child)
        task_status.started()


async def _keep_alive(child: Child, config: str, alive: _Alive, patience: Patience) -> None:
    failures, began = 0, trio.current_time()
    while True:
        patience.start_anew()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_lost, alive, patience)
            await _end(alive)
            nursery.cancel_scope.cancel()
        failures = failures + 1 if trio.current_time() - began < HEALTHY_S else 0
        log.error("containerd ended, starting it again", pid=alive.pid, log=child.log_file)
        alive = await _start_again(child, config, failures)
        began = trio.current_time()
        await _tidy(child)


async def _end_when_lost(alive: _Alive, patience: Patience) -> None:
    await patience.lost()
    log.error("containerd is of no use any more, ending it; pods go on", pid=alive.pid)
    signal.pidfd_send_signal(alive.descriptor, signal.SIGKILL)  # one that hangs would not hear anything else


async def stop(child: Child) -> None:
    """End our containerd, if it runs. Pods go on."""
    alive = _running(child)
    if alive is not None:
        await _terminate(alive)
        os.close(alive.descriptor)
    child.pid_file.unlink(missing_ok=True)


async def installed_version(child: Child) -> tuple[int, int]:
    """Major and minor. Raises CannotRun."""
    if shutil.which(child.program) is None:
        raise CannotRun(
            f"there is no {child.program} on this machine: install the package containerd, or name a socket with --container-runtime-endpoint"
        )
    done = await process.run([child.program, "--version"], timeout_s=VERSION_TIMEOUT_S)
    found = re.search(rb"\bv?(\d+)\.(\d+)\.\d+", done.stdout)
    if found is None:
        raise CannotRun(f"{child.program} --version says {done.stdout!r}: which version is that?")
    return int(found[1]), int(found[2])


def _environment(child: Child) -> dict[str, str]:
    """Ours, with the folder of its program first on the PATH: it must find its own shim there, not that of another containerd.

    Without what the service manager gave us: containerd would speak in our name.
    """
    beside = Path(shutil.which(child.program) or child.program).parent
    ours = {name: value for name, value in os.environ.items() if name not in systemd.VARIABLES}
    return {**ours, "PATH": os.pathsep.join((str(beside), os.environ.get("PATH", os.defpath))), **child.environment}


def installed(programs: Sequence[str]) -> dict[str, Path]:
    """Those of these programs that are on this machine, by name."""
    return {name: Path(found) for name in programs if (found := shutil.which(name))}


async def _adopt(child: Child, config: str) -> _Alive | None:
    """The containerd of an earlier run, when it answers and was started with this configuration."""
    alive = _running(child)
    if alive is None:
        return None
    if child.pid_file.read_text().split()[2] == _digest(config) and await _answers(child, timeout_s=5):
        log.info("containerd adopted", pid=alive.pid)
        return alive
    log.info("containerd is restarted: its configuration changed, or it does not answer", pid=alive.pid)
    await _terminate(alive)
    os.close(alive.descriptor)
    return None


async def _start(child: Child, config: str) -> _Alive:
    for folder in (child.config.root, child.config.state, child.folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    child.config.socket.parent.mkdir(parents=True, exist_ok=True)
    if not child.config_file.exists() or child.config_file.read_text() != config:
        files.write_atomically(child.config_file, config)
    child.log_file.touch()
    _shorten(child.log_file)
    argv = [*child.prefix, child.program, "--config", str(child.config_file)]
    started = process.start_detached(argv, child.log_file, _environment(child))
    alive = _Alive(started.pid, os.pidfd_open(started.pid))
    files.write_atomically(child.pid_file, f"{alive.pid} {_start_time(alive.pid)} {_digest(config)}\n")
    with trio.move_on_after(READY_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_end, alive, nursery.cancel_scope)
            answered = await _answers(child, timeout_s=READY_S)
            nursery.cancel_scope.cancel()
            if answered:
                return alive
    await _terminate(alive)  # one without its CRI part would hold the socket and the database
    started.poll()  # reaps it
    os.close(alive.descriptor)
    raise CannotRun(f"containerd does not come up: {_complaint(child.log_file)} (all it said is in {child.log_file})")


async def _start_again(child: Child, config: str, failures: int) -> _Alive:
    while True:
        await trio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
        try:
            return await _start(child, config)
        except CannotRun as error:
            failures += 1
            log.error("containerd does not start", why=error)


async def _prepare(child: Child) -> None:
    """The pause image, once per machine; from the start again when containerd ends meanwhile."""
    runtime = CriRuntime(child.config.socket, child.run_dir)
    try:
        while True:
            try:
                return await _import_pause_image(child, runtime)
            except RuntimeGone:
                await trio.sleep(PREPARE_AGAIN_S)
    finally:
        runtime.close()


async def _import_pause_image(child: Child, runtime: CriRuntime) -> None:
    if await runtime.image(child.config.pause_image) is None:
        archive = trio.Path(child.folder / "pause.tar")
        await archive.write_bytes(pause.archive(os.uname().machine))
        await runtime.import_images(archive)
        await archive.unlink()


async def _tidy(child: Child) -> None:
    """What the containerd before this one left half done."""
    runtime = CriRuntime(child.config.socket, child.run_dir)
    try:
        alive = _running(child)
        if alive is not None:
            os.close(alive.descriptor)
            await shims.end_strays(runtime, child.config.socket, shims.start_ticks(Path(f"/proc/{alive.pid}")))
    except (RuntimeFailure, FileNotFoundError, ProcessLookupError):
        return  # it ended as well: whoever starts it again tidies up
    finally:
        runtime.close()


async def _answers(child: Child, *, timeout_s: float) -> bool:
    runtime = CriRuntime(child.config.socket, child.run_dir)
    try:
        await runtime.wait_until_there(timeout_s)
    except RuntimeFailure:  # also: it answers, but its CRI part did not load
        return False
    finally:
        runtime.close()
    return True


async def _cancel_at_end(alive: _Alive, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(alive.descriptor)
    scope.cancel()


async def _end(alive: _Alive) -> None:
    """Wait until it has ended, and reap it where it is our child."""
    try:
        await trio.lowlevel.wait_readable(alive.descriptor)
        _reap(alive.pid)
    finally:
        os.close(alive.descriptor)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # adopted: init reaps it


async def _terminate(alive: _Alive) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal.pidfd_send_signal(alive.descriptor, number)
        with trio.move_on_after(STOP_S):
            await trio.lowlevel.wait_readable(alive.descriptor)
            return


def _running(child: Child) -> _Alive | None:
    """The process of the pid file, if it is still that process: a pid alone may have been given to another."""
    try:
        pid, began, _ = child.pid_file.read_text().split()
        descriptor = os.pidfd_open(int(pid))
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    if _start_time(int(pid)) == began:
        return _Alive(int(pid), descriptor)
    os.close(descriptor)
    return None


def _start_time(pid: int) -> str:
    """In clock ticks since the boot, which no two processes of one pid share; empty when it is gone or a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if after_name[0] == "Z" else after_name[19]


async def _bound_log(path: Path) -> None:
    """containerd appends to the one file it was given; cut it when it has grown."""
    with watch.folder(path, watch.MODIFIED) as changes:
        async for _ in changes:
            _shorten(path)


def _shorten(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        shutil.copyfile(path, path.with_suffix(".log.1"))
        os.truncate(path, 0)  # the writer appends, so it goes on at the new end


def _complaint(path: Path) -> str:
    """What its last start ran into first, or else its last words."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    began = max((number for number, line in enumerate(lines) if STARTING in line), default=0)
    bad = [line for line in lines[began:] if any(word in line for word in COMPLAINTS)]
    return repr([*bad[:1], *lines[-1:]][0]) if lines else "it said nothing"


def _digest(config: str) -> str:
    return hashlib.sha256(config.encode()).hexdigest()[:16]
