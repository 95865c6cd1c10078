"""What is in the file, as CycloneDX 1.5 says it (https://cyclonedx.org/docs/1.5/json/)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from licences import Part


def write(file: Path, version: str, parts: Sequence[Part]) -> None:
    product = {"type": "application", "name": "edgek", "version": version, "licenses": [{"license": {"id": "Apache-2.0"}}]}
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
