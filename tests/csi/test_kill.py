"""kill -9 at any step of a driver: the call again ends where it would have ended, and what was written stays."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

STEPS = st.integers(0, 16)
NEVER = -1


class Child:
    """``steps.py`` in mounts of its own, which vanish with it."""

    def __init__(self, driver: str, base: Path) -> None:
        argv = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "tests.csi.steps", driver, str(base)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(self, call: str, kill_before: int = NEVER, **more: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"call": call, "kill_before": kill_before, "read_only": False, **more}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Life(RuleBasedStateMachine):
    """Each call is killed once, somewhere or nowhere, and then made again: as whoever orders it would."""

    driver = "hostpath"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="edgek-csi-")
        self.child = Child(self.driver, Path(self.folder.name).resolve())
        self.staged = self.published = self.read_only = self.written = False

    @initialize(step=STEPS)
    def create(self, step: int) -> None:
        self._twice("create", step)

    def _twice(self, call: str, step: int, **more: Any) -> None:
        assert self.child.ask(call, step, **more) in ("killed", "done")
        assert self.child.ask(call, **more) == "done"

    @rule(step=STEPS)
    def create_again(self, step: int) -> None:
        self._twice("create", step)

    @precondition(lambda self: not self.staged)
    @rule(step=STEPS)
    def stage(self, step: int) -> None:
        self._twice("stage", step)
        self.staged = True

    @precondition(lambda self: self.staged and not self.published)
    @rule(step=STEPS, read_only=st.booleans())
    def publish(self, step: int, read_only: bool) -> None:
        self._twice("publish", step, read_only=read_only)
        self.published, self.read_only = True, read_only

    @precondition(lambda self: self.published and not self.read_only)
    @rule()
    def write(self) -> None:
        assert self.child.ask("write") == "done"
        self.written = True

    @precondition(lambda self: self.published)
    @rule(step=STEPS)
    def unpublish(self, step: int) -> None:
        self._twice("unpublish", step)
        self.published = self.read_only = False

    @precondition(lambda self: self.staged and not self.published)
    @rule(step=STEPS)
    def unstage(self, step: int) -> None:
        self._twice("unstage", step)
        self.staged = False

    @precondition(lambda self: self.driver == "hostpath" and (self.staged or self.published))  # of an export's other users nobody knows here
    @rule(step=STEPS)
    def delete_in_use(self, step: int) -> None:
        assert self.child.ask("delete", step) == "refused"

    @rule(step=STEPS)
    def snapshot(self, step: int) -> None:
        self._twice("snapshot", step)

    @precondition(lambda self: not self.staged and not self.published)
    @rule(step=STEPS)
    def delete_and_create(self, step: int) -> None:
        self._twice("delete", step)
        assert not self.child.ask("sight")["folder"]
        self._twice("create", step)
        self.written = False

    @invariant()
    def nothing_is_lost_and_nothing_is_left(self) -> None:
        seen = self.child.ask("sight")
        assert (seen["staged"], seen["published"], seen["read_only"]) == (self.staged, self.published, self.read_only)
        assert seen["point"] == self.published
        assert seen["content"] == ("bytes" if self.written else "")

    def teardown(self) -> None:
        self.child.close()
        self.folder.cleanup()


class LifeOnAnExport(Life):
    driver = "nfs"


for each in (Life, LifeOnAnExport):
    each.TestCase.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
test_a_volumes_life_survives_kill_9_at_any_step = pytest.mark.root(Life.TestCase)
test_a_volumes_life_on_an_export_survives_kill_9_at_any_step = pytest.mark.root(LifeOnAnExport.TestCase)


@pytest.mark.root
@pytest.mark.parametrize("driver", ["hostpath", "nfs"])
@pytest.mark.parametrize("call", ["create", "clone", "snapshot", "delete"])
def test_a_call_may_be_killed_before_each_of_its_steps_in_turn(call: str, driver: str, tmp_path: Path) -> None:
    child = Child(driver, tmp_path)
    try:
        if call != "create":
            assert child.ask("create") == "done"
        for step in itertools.count():
            outcome = child.ask(call, step)
            if outcome == "done":
                break
            assert outcome == "killed"
        assert step > 0
        assert child.ask(call) == "done"
    finally:
        child.close()
