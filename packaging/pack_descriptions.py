#!/usr/bin/env python3
"""Pack what ``kubectl explain`` says about kinds and fields, from the docstrings of the PyPI package lightkube-models.

    pip download --no-deps lightkube-models==1.36.3.8 && python packaging/pack_descriptions.py lightkube_models-*.whl [edgek/model/data]

Done when edgek is built, and optional: the texts are Kubernetes' own documentation (Apache-2.0) and are not part of this repository. Without the file
``explain`` shows types and structure only. The wheel is read as text; nothing of it is imported.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_MODULE = re.compile(r"lightkube/models/([a-z]+)_(v\d+)\.py")
_FIELD = re.compile(r"^\* \*\*(?P<name>[^*]+)\*\* ``[^`]*`` - ", re.MULTILINE)
_PARAMETERS = "**parameters**"


def descriptions(wheel: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """``core/v1.Pod`` and its texts by field, its own under the empty name."""
    with zipfile.ZipFile(wheel) as archive:
        for path in sorted(archive.namelist()):
            module = _MODULE.fullmatch(path)
            if module is None:
                continue
            for node in ast.parse(archive.read(path).decode()).body:
                if isinstance(node, ast.ClassDef) and (texts := of_class(ast.get_docstring(node) or "")):
                    yield f"{module[1]}/{module[2]}.{node.name}", texts


def of_class(docstring: str) -> dict[str, str]:
    head, _, rest = docstring.partition(_PARAMETERS)
    texts = {"": flowing(head)}
    rest = textwrap.dedent(rest)
    fields = list(_FIELD.finditer(rest))
    for at, field in enumerate(fields):
        end = fields[at + 1].start() if at + 1 < len(fields) else len(rest)
        # Python keywords and dollars were mangled into names with an underscore.
        texts[field["name"].strip("_")] = flowing(rest[field.end() : end])
    return {name: text for name, text in texts.items() if text}


def flowing(text: str) -> str:
    """Paragraphs without the line breaks of a docstring."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip())


def main(wheel: Path, target: Path) -> None:
    lines = [f"{name}\t{json.dumps(texts, separators=(',', ':'), ensure_ascii=False)}\n" for name, texts in descriptions(wheel)]
    packed = zlib.compress("".join(lines).encode(), 9)
    (target / "descriptions.z").write_bytes(packed)
    print(f"{len(lines)} structs, {len(packed)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "edgek/model/data"))
