"""APIService: a group and version of the API, served here or by another server behind a Service."""

from __future__ import annotations

from collections.abc import Sequence

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, FieldError, Path

GROUP_PRIORITY_LIMIT = 20_000
VERSION_PRIORITY_LIMIT = 1000
DEFAULT_PORT = 443


class APIService(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.API_SERVICE)

    def name_problems(self, name: str) -> Sequence[str]:
        return names.path_segment(name)  # the core group's is "v1."

    def default(self, obj: Object) -> None:
        service = (obj.get("spec") or {}).get("service")
        if service is not None:
            service.setdefault("port", DEFAULT_PORT)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec, at = Errors(), obj.get("spec") or {}, Path("spec")
        wanted = f"{spec.get('version', '')}.{spec.get('group', '')}"
        if objects.name(obj) != wanted:
            errors.invalid(Path("metadata") / "name", objects.name(obj), f'must be `spec.version+"."+spec.group`: "{wanted}"')
        for member, limit in (("groupPriorityMinimum", GROUP_PRIORITY_LIMIT), ("versionPriority", VERSION_PRIORITY_LIMIT)):
            value = spec.get(member, 0)
            if not 0 < value <= limit:
                errors.invalid(at / member, value, f"must be positive and less than {limit}")
        insecure, authority = bool(spec.get("insecureSkipTLSVerify")), bool(spec.get("caBundle"))
        if spec.get("service") is None:
            if authority:
                errors.invalid(at / "caBundle", f"{len(spec['caBundle'])} bytes", "local APIServices may not have a caBundle")
            if insecure:
                errors.invalid(at / "insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify")
        elif insecure and authority:
            errors.invalid(at / "insecureSkipTLSVerify", True, "may not be true if caBundle is present")
        return errors.found
