#!/usr/bin/env python3
"""Pack the interface facts of Kubernetes into the data files that edgek ships.

    python packaging/pack_data.py FACTS [edgek/model/data]

FACTS is a directory of facts read from a running API server: ``schemas.json``, ``protobuf-fields.json``, ``table-columns.json``,
``bootstrap-rbac.json``, ``default-objects.json``. The outcome is deterministic, and committed: nothing is packed when edgek is installed.

Each file is one JSON value, deflated (``edgek/model/packed.py`` reads it); ``types`` is a line of JSON per struct, so that a struct costs nothing
until it is asked for.

types     struct TAB [[number, JSON name or null where inlined, type, flags, {extras}?], ...]: what a Go struct of the API looks like. A type is a
          scalar (string, bool, int32, int64, double, bytes, Time, MicroTime, Quantity, IntOrString, Raw) or a struct, after ``[]`` or ``map:``.
          flags: 1 pointer, 2 omitempty, 4 omitzero. extras: merge key ``k``, patch strategy ``s``, list type ``l``, list map keys ``m``,
          map type ``t``, default ``d``. The pseudo field ``[0, "", "", 0, {...}]`` carries what holds for the struct as a
          whole: its map type ``t``, and ``g`` where it is a kind of its own, with apiVersion and kind.
openapi   the schemas as OpenAPI v3 components
columns   {group/version/plural: printer columns}
roles     bootstrap RBAC objects
objects   objects that exist from the start
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

OMITZERO = 4
INTEGERS = ("int", "[]int", "map:int")  # their width stands in the schema only
TRIVIAL_DEFAULTS = ("", 0, False, {}, None)
EXTRAS = {
    "x-kubernetes-patch-merge-key": "k",
    "x-kubernetes-patch-strategy": "s",
    "x-kubernetes-list-type": "l",
    "x-kubernetes-list-map-keys": "m",
    "x-kubernetes-map-type": "t",
}
# Structs that print without creationTimestamp where it is not set: the one field of upstream with omitzero.
OMITZERO_FIELDS = {("meta/v1.ObjectMeta", "creationTimestamp")}
# The aggregator's own group: its field numbers are in none of the files.
AGGREGATOR: dict[str, list[list[Any]]] = {
    "apiregistration/v1.APIService": [
        [1, "metadata", "meta/v1.ObjectMeta", 2],
        [2, "spec", "apiregistration/v1.APIServiceSpec", 2],
        [3, "status", "apiregistration/v1.APIServiceStatus", 2],
    ],
    "apiregistration/v1.APIServiceCondition": [
        [1, "type", "string", 0],
        [2, "status", "string", 0],
        [3, "lastTransitionTime", "Time", 2],
        [4, "reason", "string", 2],
        [5, "message", "string", 2],
    ],
    "apiregistration/v1.APIServiceList": [[1, "metadata", "meta/v1.ListMeta", 2], [2, "items", "[]apiregistration/v1.APIService", 0]],
    "apiregistration/v1.APIServiceSpec": [
        [1, "service", "apiregistration/v1.ServiceReference", 3],
        [2, "group", "string", 2],
        [3, "version", "string", 2],
        [4, "insecureSkipTLSVerify", "bool", 2],
        [5, "caBundle", "bytes", 2],
        [7, "groupPriorityMinimum", "int", 0],
        [8, "versionPriority", "int", 0],
    ],
    "apiregistration/v1.APIServiceStatus": [[1, "conditions", "[]apiregistration/v1.APIServiceCondition", 2]],
    "apiregistration/v1.ServiceReference": [[1, "namespace", "string", 2], [2, "name", "string", 2], [3, "port", "int", 3]],
}


def struct_name(schema: str) -> str:
    """``io.k8s.api.core.v1.Pod`` -> ``core/v1.Pod``."""
    group, version, name = schema.split(".")[-3:]
    return f"{group}/{version}.{name}"


def pack_types(schemas: dict[str, Any], messages: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    messages = json.loads(json.dumps({**messages, **AGGREGATOR}))
    for schema, body in sorted(schemas.items()):
        struct = struct_name(schema)
        if struct not in messages:
            continue
        enrich(messages, struct, body.get("properties") or {})
        whole = {"t": body["x-kubernetes-map-type"]} if "x-kubernetes-map-type" in body else {}
        if "x-kubernetes-group-version-kind" in body:
            whole["g"] = 1
        if whole:
            messages[struct].append([0, "", "", 0, whole])
    for struct, fields in messages.items():
        for field in fields:
            field[2] = field[2] + "64" if field[2] in INTEGERS else field[2]
            field[3] |= OMITZERO if (struct, field[1]) in OMITZERO_FIELDS else 0
    return dict(sorted(messages.items()))


def enrich(messages: dict[str, list[list[Any]]], struct: str, properties: dict[str, Any]) -> None:
    """Add to a struct's fields what only the schema knows: widths of integers, merge keys, list types, defaults."""
    for field in messages[struct]:
        if field[1] is None:
            enrich(messages, field[2], properties)
        elif field[1] in properties and len(field) == 4:
            schema = properties[field[1]]
            if field[2] in INTEGERS:
                item = schema.get("items") or schema.get("additionalProperties") or schema
                field[2] = field[2][:-3] + item.get("format", "int64")
            extras = {short: schema[name] for name, short in EXTRAS.items() if name in schema}
            if schema.get("default") not in TRIVIAL_DEFAULTS:
                extras["d"] = schema["default"]
            if extras:
                field.append(extras)


def main(facts: Path, target: Path) -> None:
    def read(name: str) -> Any:
        return json.loads((facts / name).read_text())

    schemas = read("schemas.json")
    types = pack_types(schemas, read("protobuf-fields.json"))
    texts = {"types": "".join(f"{struct}\t{compact(fields)}\n" for struct, fields in types.items())}
    values = {
        "openapi": schemas,
        "columns": read("table-columns.json"),
        "roles": read("bootstrap-rbac.json"),
        "objects": read("default-objects.json"),
    }
    texts |= {name: compact(value) for name, value in values.items()}
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = target / f"{name}.z"
        path.write_bytes(zlib.compress(text.encode(), 9))
        print(f"{name}: {len(text)} -> {path.stat().st_size} bytes")


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "edgek/model/data"))
