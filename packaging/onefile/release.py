"""What lies beside the file when it is given away: its checksum, the signature of that, and an install.sh that knows the signer's public key.

A folder with these four installs without a network.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import archive
from pins import BuildError

ED25519 = "MCowBQYDK2Vw"  # what each public key of that kind begins with (RFC 8410)
KEY_LINE = "PUBLIC_KEY=''"


def prepare(target: Path, installer: Path, key: Path | None) -> None:
    """``key`` is the private one, in PEM."""
    sums = target.with_name(target.name + ".sha256")
    sums.write_text(f"{archive.digest(target)}  {target.name}\n")
    signature = target.with_name(target.name + ".sha256.sig")
    signature.unlink(missing_ok=True)
    if key:
        subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", sums, "-out", signature], check=True)
    shutil.copy(installer, target.with_name("install.sh"))


def public_key(key: Path) -> str:
    """In base64, as install.sh has it. Raises BuildError."""
    done = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], check=False, capture_output=True, text=True)
    public = "".join(line for line in done.stdout.splitlines() if not line.startswith("-----"))
    if not public.startswith(ED25519):
        raise BuildError(f"--sign {key} is no private Ed25519 key: make one by `openssl genpkey -algorithm ed25519 -out KEY`")
    return public


def write_installer(template: Path, target: Path, public: str) -> None:
    text = template.read_text()
    assert text.count(KEY_LINE) == 1
    target.write_text(text.replace(KEY_LINE, f"PUBLIC_KEY='{public}'"))
    shutil.copymode(template, target)
