"""Events, which are the same objects in two groups: core/v1, where they began, and events.k8s.io/v1, which is stricter and has other names.

They are stored in the names of core/v1; ``api/conversion.py`` is the way between, and what is said here is said of either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgek.model import kinds, objects
from edgek.model.objects import Object
from edgek.server.resources.base import Resource
from edgek.server.resources.validation import names
from edgek.server.resources.validation.fields import Errors, FieldError, Path

MOST_NAME = 128
MOST_NOTE_BYTES = 1024

_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS = tuple((name, f"involvedObject.{name}", f"regarding.{name}") for name in _ABOUT)
_FIXED = ("regarding", "related", "reportingController", "reportingInstance", "action", "reason", "type", "eventTime")


def _said(event: Object, *members: str) -> Any:
    """A member by either group's name for it."""
    return next((event[member] for member in members if event.get(member)), None)


class Event(Resource):
    """Either group's."""

    creates_on_update = True

    def validate(self, obj: Object) -> Sequence[FieldError]:
        errors = Errors()
        _check_namespace(errors, obj)
        # A core event with an eventTime was made for the newer API and keeps its rules.
        if self.kind is kinds.EVENT_V1 or obj.get("eventTime"):
            _check_new(errors, obj)
        return errors.found

    def validate_update(self, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        errors = Errors(list(self.validate(obj)))
        if self.kind is kinds.EVENT_V1:
            for member in _FIXED:
                errors.immutable(Path(member), obj.get(member), old.get(member))
        return errors.found

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Both groups' names for them: what one stores the other may select."""
        about, reporter = _said(obj, "involvedObject", "regarding") or {}, _said(obj, "reportingComponent", "reportingController") or ""
        source = _said(obj, "source", "deprecatedSource") or {}
        shown = {}
        for name, *fields in _FIELDS:
            shown.update(dict.fromkeys(fields, str(about.get(name) or "")))
        return {
            **shown,
            "reason": obj.get("reason") or "",
            "type": obj.get("type") or "",
            "source": source.get("component") or reporter,
            "reportingComponent": reporter,
            "reportingController": reporter,
        }


def _check_namespace(errors: Errors, event: Object) -> None:
    """An event lives beside what it is about; one about a cluster-wide object lives in ``default``."""
    about: Mapping[str, Any] = _said(event, "involvedObject", "regarding") or {}
    namespace, wanted = objects.namespace(event), about.get("namespace") or ""
    if (wanted and namespace != wanted) or (not wanted and namespace not in ("default", "kube-system")):
        errors.invalid(Path("involvedObject.namespace"), wanted, "does not match event.namespace")


def _check_new(errors: Errors, event: Object) -> None:
    if not event.get("eventTime"):
        errors.required(Path("eventTime"))
    _check_controller(errors, _said(event, "reportingController", "reportingComponent") or "")
    instance = event.get("reportingInstance") or ""
    if not instance:
        errors.required(Path("reportingInstance"))
    if len(instance) > MOST_NAME:
        errors.invalid(Path("reportingInstance"), "", f"can have at most {MOST_NAME} characters")
    for member in ("action", "reason"):
        value = event.get(member) or ""
        if not value:
            errors.required(Path(member))
        if len(value) > MOST_NAME:
            errors.invalid(Path(member), "", f"can have at most {MOST_NAME} characters")
    if len((_said(event, "note", "message") or "").encode()) > MOST_NOTE_BYTES:
        errors.invalid(Path("message"), "", f"can have at most {MOST_NOTE_BYTES} characters")
    _check_series(errors, event)
    if (event.get("type") or "") not in ("Normal", "Warning"):
        errors.invalid(Path("type"), event.get("type") or "", "has invalid value")


def _check_controller(errors: Errors, controller: str) -> None:
    at = Path("reportingController")
    if not controller:
        errors.required(at)
    errors.invalid_each(at, controller, names.qualified_name(controller))


def _check_series(errors: Errors, event: Object) -> None:
    series = event.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        errors.invalid(Path("series.count"), "", "should be at least 2")
    if not series.get("lastObservedTime"):
        errors.required(Path("series.lastObservedTime"))
