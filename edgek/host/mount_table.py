"""The kernel's table of mounts, read, and the flags whose words stand in it. Asks no file system, so a dead server holds nobody up."""

from __future__ import annotations

import attrs

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_NOATIME = 1024
OPTIONS = {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": MS_NOATIME}  # what a bind mount has of its own

SERVED = frozenset({"nfs", "nfs4"})


@attrs.frozen
class Mount:
    """A line of mountinfo. ``root`` is what of the file system is mounted there; ``device`` is ``major:minor``."""

    point: str
    root: str
    device: str
    options: tuple[str, ...]
    kind: str
    source: str

    @property
    def read_only(self) -> bool:
        return "ro" in self.options

    @property
    def served(self) -> bool:
        """By a file server, which may not answer."""
        return self.kind in SERVED


def mounts() -> list[Mount]:
    """Everything that is mounted, in the order in which it was."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return [of_line(line) for line in lines]


def of_line(line: str) -> Mount:
    """A line of mountinfo. See proc(5): optional fields end at a lone dash."""
    own, _, of_all = line.rstrip("\n").partition(" - ")
    _, _, device, root, point, options = own.split(" ")[:6]
    kind, source = of_all.split(" ")[:2]
    return Mount(_unescaped(point), _unescaped(root), device, tuple(options.split(",")), kind, _unescaped(source))


def mount_points() -> list[str]:
    """Where something is mounted, in the order in which it was."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return [_unescaped(line.split(" ", 5)[4]) for line in lines]


def _unescaped(path: str) -> str:
    """The kernel writes blanks as ``\\040``."""
    if "\\" not in path:
        return path
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
