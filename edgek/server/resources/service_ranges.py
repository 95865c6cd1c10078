"""ServiceCIDRs and IPAddresses: the ranges of service addresses, and single ones of them, as objects."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from edgek.model import kinds
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import SPEC, Errors, FieldError, items


class ServiceCidr(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.SERVICE_CIDR)

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, spec = Errors(), obj.get("spec") or {}
        cidrs = spec.get("cidrs") or []
        if not cidrs:
            errors.required(SPEC / "cidrs", "at least one CIDR required")
        if len(cidrs) > 2:
            errors.invalid(SPEC / "cidrs", cidrs, "may only hold up to 2 values")
        for place, cidr in items(spec, "cidrs", SPEC):
            errors.invalid_each(place, cidr, names.cidr(cidr))
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        errors.immutable(SPEC / "cidrs", (obj.get("spec") or {}).get("cidrs"), (old.get("spec") or {}).get("cidrs"))
        return errors.found


class IpAddress(Resource):
    def __init__(self) -> None:
        super().__init__(kinds.IP_ADDRESS)

    def name_problems(self, name: str) -> Sequence[str]:
        """The address itself, in its one canonical form."""
        if any(part.startswith("0") and len(part) > 1 and part.isdecimal() for part in name.split(".")):
            return ["must not have leading 0s"]
        problems = names.ip(name)
        if problems or str(ipaddress.ip_address(name)) == name:
            return problems
        return [f'must be in canonical form ("{ipaddress.ip_address(name)}")']

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors, parent = Errors(), (obj.get("spec") or {}).get("parentRef")
        if parent is None:
            errors.required(SPEC / "parentRef")
            return errors.found
        for member in ("resource", "name"):
            if not parent.get(member):
                errors.required(SPEC / "parentRef" / member)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors()
        errors.immutable(SPEC / "parentRef", (obj.get("spec") or {}).get("parentRef"), (old.get("spec") or {}).get("parentRef"))
        return errors.found
