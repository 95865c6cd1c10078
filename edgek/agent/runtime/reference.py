"""Image references, as people write them and as containerd stores them. Pure; github.com/distribution/reference is the grammar."""

from __future__ import annotations


def normalized(reference: str) -> str:
    """``busybox`` is ``docker.io/library/busybox:latest``; what has a registry and a tag or digest stays as it is."""
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif not ("." in first or ":" in first or first == "localhost"):
        reference = f"docker.io/{reference}"
    last = reference.rpartition("/")[2]
    return reference if ":" in last or "@" in last else f"{reference}:latest"
