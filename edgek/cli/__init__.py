"""The commands, and their exit codes: 0 done, 1 it did not work, 2 it was asked wrongly.

``COMMANDS`` is the table. A command lives in a module of its own that is imported when it is called, so that ``edgek --version`` stays instant and
``edgek kubectl`` loads nothing of a server.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import attrs

from edgek import __version__


@attrs.frozen
class Command:
    """``module`` has ``main(arguments) -> exit code``."""

    name: str
    module: str
    help: str


COMMANDS: tuple[Command, ...] = (
    Command("server", "edgek.cli.server", "run a cluster: the API, its controllers, and a node on this machine"),
    Command("agent", "edgek.cli.agent", "join another machine's cluster as a node"),
    Command("kubectl", "edgek.cli.kubectl", "run kubectl against this cluster"),
    Command("status", "edgek.cli.status", "show the node, its pods and Services, and what edgek costs"),
    Command("check", "edgek.cli.check", "see whether this machine can run edgek, and what to do where it cannot"),
    Command("inspect", "edgek.cli.inspect", "gather what somebody needs who helps from afar in one file, without secrets"),
    Command("images", "edgek.cli.images", "import and list container images"),
    Command("token", "edgek.cli.token", "the tokens by which nodes join: print, create, list, delete, rotate"),
    Command("node", "edgek.cli.node", "forget a node, so that another machine may have its name"),
    Command("db", "edgek.cli.db", "inspect, compact and copy the database"),
    Command("backup", "edgek.cli.backup", "write a whole server to one file, while it runs"),
    Command("restore", "edgek.cli.restore", "make this machine the server that a backup was made of"),
    Command("certificate", "edgek.cli.certificate", "certificates of this machine: check, rotate, and replace the authorities"),
    Command("csi", "edgek.cli.csi", "serve a storage driver of ours alone, for other clusters and for tests"),
    Command("upgrade", "edgek.cli.upgrade", "put another version in place, and go back by itself where that does not come up"),
    Command("killall", "edgek.cli.killall", "stop edgek and everything that it started, and leave what is installed"),
    Command("uninstall", "edgek.cli.uninstall", "take edgek and everything that it made away from this machine"),
    Command("completion", "edgek.cli.completion", "print a completion script for bash, zsh or fish"),
    Command("version", "edgek.cli.version", "print the version"),
)

# Faces that edgek calls itself by, in a child process: not for people, so not in the list above.
INTERNAL = {
    "internal-store": "edgek.server.store.mending",
    "internal-selftest": "selftest",  # only in a packed file: packaging/selftest.py
    "internal-tool": "edgek.cli.tool",
}

# They end with a word of their own in the log; for the others, a file that cannot be read or written is the user's to mend.
LONG_RUNNING = ("server", "agent")

# What k3s has as a command and edgek has not (yet): refused by name.
REFUSED = {
    "etcd-snapshot": "edgek keeps its data in SQLite: `edgek backup` writes the whole server to one file, and `edgek restore` takes it back",
    "secrets-encrypt": "encryption at rest is not supported yet",
    "crictl": "point a crictl of your own at the socket <run-dir>/containerd.sock",
    "ctr": "use containerd's ctr with --address <run-dir>/containerd.sock -n k8s.io",
}


def main(arguments: Sequence[str]) -> int:
    first, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if first in ("--version", "-v"):
        print(f"edgek {__version__}")
        return 0
    if first == "help" and rest:
        return main([rest[0], "--help"])
    if first in ("--help", "-h", "help"):
        print(usage())
        return 0 if arguments else 2
    if first in REFUSED:
        print(f"edgek: {first}: {REFUSED[first]}", file=sys.stderr)
        return 2
    if first in INTERNAL:
        return run(Command(first, INTERNAL[first], ""), rest)
    command = next((command for command in COMMANDS if command.name == first), None)
    if command is None:
        print(f"edgek: there is no command {first!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return run(command, rest)


def run(command: Command, arguments: Sequence[str]) -> int:
    from edgek.model.errors import UsageError

    try:
        code: int = importlib.import_module(command.module).main(list(arguments))
    except UsageError as exc:
        print(f"edgek {command.name}: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `edgek ... | head` is no mistake
        sys.stderr.close()
        return 0
    except OSError as exc:
        if not exc.filename or command.name in LONG_RUNNING:
            raise
        print(f"edgek {command.name}: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def usage() -> str:
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:{width}}  {command.help}" for command in COMMANDS]
    return "\n".join(["edgek: a small, complete Kubernetes", "", "Usage: edgek COMMAND [...]", "", *lines, "", "`edgek COMMAND --help` says more."])
