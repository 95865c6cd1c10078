"""What is in the file, as CycloneDX 1.5 says it (https://cyclonedx.org/docs/1.5/json/)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from licences import Part

SOURCE_PROPERTY = "edgek:source:sha256"


def source_digest(source: Path) -> str:
    """Of what edgek is made from, wherever it lies: who finds a file can tell whether it is of this checkout."""
    found = hashlib.sha256()
    for folder in ("edgek", "packaging"):
        for file in sorted((source / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".md" and file != source / "edgek" / "cni" / "shim":
                found.update(f"{file.relative_to(source)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def write(file: Path, version: str, source: str, parts: Sequence[Part]) -> None:
    """``source`` is its digest."""
    product = {
        "type": "application",
        "name": "edgek",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": [{"name": SOURCE_PROPERTY, "value": source}],
    }
    components = [
        {
            "type": "library",
            "bom-ref": part.purl,
            "name": part.name,
            "version": part.version,
            "purl": part.purl,
            "licenses": [{"expression": part.licence}],
        }
        for part in sorted(parts, key=lambda part: part.purl)
    ]
    content = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": product}, "components": components}
    file.write_text(json.dumps(content, indent=1) + "\n")
