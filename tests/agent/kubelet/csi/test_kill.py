"""kill -9 of edgek at any step of a volume's way: whoever comes after it ends where it would have ended, in the same order."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.agent.kubelet.csi.scene import DRIVER
from tests.fakes.csi_driver import calls

NEVER = -1
STEPS = st.integers(0, 24)
UIDS = st.sampled_from(["u1", "u2"])
KEPT = {
    "pods",
    "plugins",
    "plugins_registry",
    "kubernetes.io",
    "csi",
    DRIVER,
    "csi.sock",
    f"{DRIVER}-reg.sock",
    "volumeDevices",
    "staging",
    "publish",
}


class World:
    """A driver in its process, and edgeks that come and go."""

    def __init__(self, base: Path, mode: str) -> None:
        self.base, self.mode = base, mode
        argv = [sys.executable, "-m", "tests.fakes.csi_driver", "--root", str(base / "driver"), "--kubelet-dir", str(base / "kubelet"), "--alone"]
        self._driver = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        argv = [sys.executable, "-m", "tests.agent.kubelet.csi.life", str(base)]
        self._edgek = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._driver.stdout
        assert self._driver.stdout.readline() == "ready\n"

    def ask(self, do: str, kill_before: int = NEVER, **more: Any) -> str:
        assert self._edgek.stdin and self._edgek.stdout
        self._edgek.stdin.write(json.dumps({"do": do, "kill_before": kill_before, "mode": self.mode, **more}) + "\n")
        self._edgek.stdin.flush()
        return self._edgek.stdout.readline().strip()

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.base / "driver" / "state").read_text()))

    def published(self) -> set[str]:
        """The pods that have it."""
        return {uid for uid in ("u1", "u2") for target in self.state()["published"] if uid in target.split("/")}

    def violations(self) -> list[str]:
        return [each["text"] for each in calls(self.base / "driver") if each["call"] == "VIOLATION"]

    def left(self) -> list[str]:
        base = self.base / "kubelet"
        return sorted(str(each.relative_to(base)) for each in base.rglob("*") if each.name not in KEPT)

    def close(self) -> None:
        assert self._edgek.stdin and self._edgek.stdout and self._driver.stdout
        self._edgek.stdin.close()
        self._driver.terminate()
        for process in (self._edgek, self._driver):
            process.wait(30)
            assert process.stdout
            process.stdout.close()


@contextmanager
def a_world(base: Path, mode: str) -> Iterator[World]:
    made = World(base, mode)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(("mode", "stride"), [("Filesystem", 1), ("Block", 5), ("Inline", 5)])
def test_each_step_may_be_the_last_of_an_edgek(mode: str, stride: int, tmp_path: Path) -> None:
    """Of bringing, and the pod is deleted before the next one comes; and of taking away."""
    with a_world(tmp_path, mode) as world:
        die_while_bringing(world, stride)
        die_while_taking_away(world, stride)
        assert world.violations() == []


def die_while_bringing(world: World, stride: int) -> None:
    for step in itertools.count(0, stride):
        if world.ask("mount", step, uid="u1") == "done":
            break
        assert world.ask("clear", known=[]) == "done"
        assert (world.published(), world.state()["staged"], world.left()) == (set(), {}, [])
    assert step > 5


def die_while_taking_away(world: World, stride: int) -> None:
    for step in itertools.count(0, stride):
        assert world.ask("mount", uid="u1") == "done"
        assert world.published() == {"u1"}
        if world.ask("take down", step, uid="u1") == "done":
            break
        assert world.ask("mount", uid="u2") == "done"  # another pod comes first
        assert world.ask("clear", known=["u2"]) == "done"
        assert world.published() == {"u2"}
        assert world.ask("take down", uid="u2") == "done"
        assert (world.published(), world.state()["staged"], world.left()) == (set(), {}, [])
    assert step > 3


class Life(RuleBasedStateMachine):
    """Two pods share a volume; each thing is killed once, somewhere or nowhere, and then done by the next edgek."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="ek-")
        self.world = World(Path(self.folder.name).resolve(), "Filesystem")
        self.has: set[str] = set()

    @rule(uid=UIDS, step=STEPS)
    def bring(self, uid: str, step: int) -> None:
        assert self.world.ask("mount", step, uid=uid) in ("killed", "done")
        assert self.world.ask("mount", uid=uid) == "done"
        self.has.add(uid)

    @rule(uid=UIDS, step=STEPS)
    def bring_in_vain(self, uid: str, step: int) -> None:
        """The pod is deleted before the next edgek comes."""
        self.world.ask("mount", step, uid=uid)
        self.has.discard(uid)
        assert self.world.ask("clear", known=sorted(self.has)) == "done"

    @rule(uid=UIDS, step=STEPS)
    def take_down(self, uid: str, step: int) -> None:
        assert self.world.ask("take down", step, uid=uid) in ("killed", "done")
        assert self.world.ask("clear", known=["u1", "u2"]) == "done"  # what every edgek does when it starts
        assert self.world.ask("take down", uid=uid) == "done"
        self.has.discard(uid)

    @rule(uid=UIDS, step=STEPS)
    def take_down_in_vain(self, uid: str, step: int) -> None:
        """It is brought again before the next edgek has looked at what is left."""
        self.world.ask("take down", step, uid=uid)
        assert self.world.ask("mount", uid=uid) == "done"
        self.has.add(uid)

    @rule(uid=UIDS, step=STEPS)
    def forget(self, uid: str, step: int) -> None:
        self.has.discard(uid)
        assert self.world.ask("clear", step, known=sorted(self.has)) in ("killed", "done")
        assert self.world.ask("clear", known=sorted(self.has)) == "done"

    @invariant()
    def the_driver_has_what_pods_have_and_was_asked_in_order(self) -> None:
        if not (self.world.base / "driver" / "state").exists():
            return
        assert self.world.published() == self.has
        assert len(self.world.state()["staged"]) == bool(self.has)
        assert self.world.violations() == []
        if not self.has:
            assert self.world.left() == []

    def teardown(self) -> None:
        self.world.close()
        self.folder.cleanup()


Life.TestCase.settings = settings(max_examples=4, stateful_step_count=6, deadline=None)
test_a_volumes_way_survives_kill_9_at_any_step = Life.TestCase
