"""How upstream's API server answers, held against ours: the corpus in ../shared/golden and its checker.

``passing.txt`` holds the ids that pass: one that falls out fails this test, one that newly passes is named so that it can be added. Where the corpus is
not there, the test says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = REPOSITORY.parent / "shared" / "golden"
PASSING = Path(__file__).with_name("passing.txt")
PORT = 16555
START_S = 120
CHECK_S = 600
TOKENS = 'golden-admin-token,golden-admin,u-admin,"system:masters"\ngolden-alice-token,alice,u-alice,"golden-devs"\ngolden-bob-token,bob,u-bob,""\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """A bare API server, by the command that the corpus is written for; its data directory."""
    tokens = tmp_path / "tokens.csv"
    tokens.write_text(TOKENS)
    flags = ["--disable-agent", "--disable-scheduler", "--disable-controller-manager", "--anonymous-auth", "--token-auth-file", str(tokens)]
    places = ["--data-dir", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run"), "--write-kubeconfig", str(tmp_path / "kubeconfig")]
    address = ["--bind-address", "127.0.0.1", "--https-listen-port", str(PORT)]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "edgek", "server", *flags, *places, *address], cwd=REPOSITORY, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_S
        while b"serving" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield tmp_path / "data"
    finally:
        process.terminate()
        process.wait(20)


def test_we_answer_as_upstream_does(server: Path) -> None:
    if not CORPUS.exists():
        pytest.skip("the corpus ../shared/golden is not here: how upstream answers was not checked")
    wanted = set(PASSING.read_text().split())
    all_ids = set((CORPUS / "first-light.txt").read_text().split())
    authority = server / "server" / "tls" / "server-ca.crt"
    options = ["--server", f"https://127.0.0.1:{PORT}", "--token", "golden-admin-token", "--ca", str(authority), "--ids", "first-light.txt"]
    done = subprocess.run(
        [sys.executable, "run.py", "check", *options, "expected"], cwd=CORPUS, capture_output=True, text=True, check=False, timeout=CHECK_S
    )
    failed = set(re.findall(r"^FAIL (\S+)", done.stdout, re.MULTILINE))
    assert re.search(r"^\d+ passed, \d+ failed$", done.stdout, re.MULTILINE), done.stdout[-2000:] + done.stderr[-2000:]
    lost = sorted(failed & wanted)
    gained = sorted(all_ids - failed - wanted)
    if gained:
        print(f"{len(gained)} cases pass that {PASSING.name} does not hold yet: {' '.join(gained[:50])}")
    details = "\n".join(line for line in done.stdout.splitlines() if any(line.startswith(f"FAIL {case} ") for case in lost))
    assert not lost, f"{len(lost)} of {len(wanted)} cases fell out:\n{details}"
    assert len(wanted) >= 0.95 * len(all_ids)
