"""``edgek upgrade FILE``: another version takes this one's place. It is verified first, by us, and where it does not come up we are back."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from edgek.cli import scripts
from edgek.host import bundled
from edgek.model.errors import UsageError

TIMEOUT_S = 120
PASSED_ON = ("INSTALL_EDGEK_PUBLIC_KEY", "INSTALL_EDGEK_SKIP_SIGNATURE", "INSTALL_EDGEK_FORCE_RESTART")  # of what the installer is told by variables


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="edgek upgrade",
        description="Put another version in place: its checksum and signature are looked at, pods go on, and where its node is not Ready in time "
        "this version runs again.",
    )
    parser.add_argument("file", type=Path, help="built by packaging/build.sh, with FILE.sha256 and FILE.sha256.sig beside it")
    parser.add_argument("--skip-signature", action="store_true", help="believe the checksum alone")
    parser.add_argument("--timeout", type=int, default=TIMEOUT_S, metavar="SECONDS", help=f"how long it may take to be Ready ({TIMEOUT_S})")
    found = parser.parse_args(arguments)
    if found.timeout < 1:
        raise UsageError(f"--timeout {found.timeout}: say how many seconds")
    if not found.file.is_file():
        raise UsageError(f"there is no file {found.file}")
    if bundled.share() is None:
        raise UsageError("this edgek runs from a checkout: update that, and run packaging/install.sh again")
    role_file = scripts.INSTALLED / "role"
    if not role_file.exists():
        raise UsageError("no service was installed here: stop edgek, put the file in its place, and start it")
    wanted = {name: "" for name in os.environ if name.startswith("INSTALL_EDGEK_") and name not in PASSED_ON}
    wanted |= {"INSTALL_EDGEK_FILE": str(found.file.absolute()), "INSTALL_EDGEK_KEEP_FLAGS": "1", "EDGEK_READY_TIMEOUT": str(found.timeout)}
    if found.skip_signature:
        wanted["INSTALL_EDGEK_SKIP_SIGNATURE"] = "1"
    return scripts.become("install.sh", [role_file.read_text().strip()], "upgrade", wanted)
