"""WIRING: which parts run, and in which order. The only room that sees everything.

Each part is a ``Service``: it starts when the one before it is ready and stops before that does. ``server.py`` lists those of a server, ``agent.py``
those of a node, ``member.py`` what an agent, a node without a server, has besides.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import trio

from edgek.config import Config
from edgek.host import log, process, service, systemd
from edgek.host.service import Service
from edgek.model.errors import EdgekError, UsageError
from edgek.roles import anew


class Role(Protocol):
    def services(self) -> Iterator[Service]: ...


def serve(config: Config) -> int:
    """Run a server until SIGTERM or SIGINT; its exit code."""
    from edgek.roles.server import Server

    return _run(config, Server, server=True)


def serve_agent(config: Config) -> int:
    """Run a node of a cluster elsewhere until SIGTERM or SIGINT; its exit code."""
    from edgek.roles.member import Member

    return _run(config, Member, server=False)


def _run(config: Config, make: Callable[[Config], Role], *, server: bool) -> int:
    from edgek.agent.fitness import areas

    log.configure(config.log_level)
    try:
        areas.refuse(config, server=server)
        with _Alone(config.run_dir):
            trio.run(_until_told, make(config), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        if group.subgroup(anew.BeginAnew):
            anew.begin(process.ourselves(*sys.argv[1:]))
        return _report(group)
    except UsageError as exc:
        log.error("cannot start", reason=exc)
        return 2
    return 0


async def _until_told(role: Role) -> None:
    """Run all services until a signal asks for the end."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run, [*role.services(), Service("service manager", systemd.run)])
            async for number in signals:
                systemd.notify("STOPPING=1")
                log.info("stopping", signal=signal.Signals(number).name)
                nursery.cancel_scope.cancel()
                break


class _Alone:
    """Hold ``<run-dir>/edgek.pid``, locked, for as long as we run. Raises UsageError when another edgek does."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "edgek.pid"

    def __enter__(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+")
        except OSError as exc:
            raise UsageError(f"--run-dir {self._path.parent} cannot be written: {exc.strerror}; run as root or choose another") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            other = self._file.read().strip() or "?"
            raise UsageError(f"another edgek (process {other}) runs with --run-dir {self._path.parent}; stop it or choose another") from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


def _report(group: BaseExceptionGroup[BaseException]) -> int:
    """What ended the services, said once and plainly; a defect of ours with its traceback."""
    ours, rest = group.split(lambda exc: isinstance(exc, EdgekError))
    for exc in _leaves(ours):
        log.error("cannot go on", reason=exc)
    if rest is None:
        return 2
    if all(isinstance(exc, KeyboardInterrupt) for exc in _leaves(rest)):
        return 130
    raise rest


def _leaves(group: BaseException | None) -> Iterator[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        for exc in group.exceptions:
            yield from _leaves(exc)
    elif group is not None:
        yield group
