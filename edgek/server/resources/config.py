"""ConfigMaps and Secrets: data under keys, and kinds of secrets that must hold certain ones."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import METADATA, Errors, FieldError, Path

MOST_BYTES = 1024 * 1024  # of all values together
FROZEN = "field is immutable when `immutable` is set"
OPAQUE = "Opaque"
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
_REDACTED = "<secret contents redacted>"

# Keys that a type of secret must have.
_REQUIRED_KEYS: dict[str, tuple[str, ...]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class ConfigMap(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.CONFIG_MAP)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        binary = obj.get("binaryData") or {}
        size = 0
        for key, value in (obj.get("data") or {}).items():
            at = Path("data")[key]
            errors.invalid_each(at, key, names.config_key(key))
            if key in binary:
                errors.invalid(at, key, "duplicate of key present in binaryData")
            size += len(value.encode())
        for key, value in binary.items():
            errors.invalid_each(Path("binaryData")[key], key, names.config_key(key))
            size += _decoded_size(value)
        if size > MOST_BYTES:
            errors.too_long(Path(), MOST_BYTES)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        _check_frozen(errors, obj, old, ("data", "binaryData"))
        errors.found += self.validate(obj)
        return errors.found


class Secret(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.SECRET)

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = OPAQUE
        texts = obj.pop("stringData", None)
        if texts:
            obj["data"] = (obj.get("data") or {}) | {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        contents = obj.get("data") or {}
        for key in contents:
            errors.invalid_each(Path("data")[key], key, names.config_key(key))
        if sum(map(_decoded_size, contents.values())) > MOST_BYTES:
            errors.too_long(Path("data"), MOST_BYTES)
        _check_type(errors, obj, contents)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        errors.immutable(Path("type"), obj.get("type"), old.get("type"))
        _check_frozen(errors, obj, old, ("data",))
        errors.found += self.validate(obj)
        return errors.found

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        contents = obj.get("data") or {}
        if obj.get("type") != "kubernetes.io/tls" or (old is not None and contents == old.get("data")):
            return ()
        if b"-----BEGIN" not in base64.b64decode(contents.get("tls.crt") or ""):
            return ("tls: failed to find any PEM data in certificate input",)
        if b"-----BEGIN" not in base64.b64decode(contents.get("tls.key") or ""):
            return ("tls: failed to find any PEM data in key input",)
        return ()

    def fields(self, obj: Object) -> Mapping[str, str]:
        return {"type": obj.get("type") or ""}


def _decoded_size(value: str | None) -> int:
    """Bytes behind base64, without decoding it. Null is no bytes."""
    value = value or ""
    return len(value) * 3 // 4 - value[-2:].count("=")


def _check_frozen(errors: Errors, obj: Object, old: Object, members: tuple[str, ...]) -> None:
    if not old.get("immutable"):
        return
    if not obj.get("immutable"):
        errors.forbidden(Path("immutable"), FROZEN)
    for member in members:
        if (obj.get(member) or {}) != (old.get(member) or {}):
            errors.forbidden(Path(member), FROZEN)


def _check_type(errors: Errors, secret: Object, contents: Mapping[str, str]) -> None:
    kind = secret.get("type")
    for key in _REQUIRED_KEYS.get(str(kind), ()):
        if key not in contents:
            errors.required(Path("data")[key])
    match kind:
        case "kubernetes.io/service-account-token":
            if not objects.annotations(secret).get(ACCOUNT_ANNOTATION):
                errors.required((METADATA / "annotations")[ACCOUNT_ANNOTATION])
        case "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson":
            _check_json(errors, contents, _REQUIRED_KEYS[kind][0])
        case "kubernetes.io/basic-auth":
            if "username" not in contents and "password" not in contents:
                errors.required(Path("data")["username"])
                errors.required(Path("data")["password"])


def _check_json(errors: Errors, contents: Mapping[str, str], key: str) -> None:
    if key not in contents:
        return
    text = base64.b64decode(contents[key] or "")
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        errors.invalid(Path("data")[key], _REDACTED, _json_problem(text))


def _json_problem(text: bytes) -> str:
    """Upstream's words for the commonest mistake: what is there is not JSON from its first character on."""
    start: Any = text.lstrip()[:1]
    if not start:
        return "unexpected end of JSON input"
    char = chr(start[0])
    shown = char if char.isprintable() else f"\\x{start[0]:02x}"
    return f"invalid character '{shown}' looking for beginning of value"
