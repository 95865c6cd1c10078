"""Query parameters and option objects: parsed, and checked in upstream's words.

ListOptions of reads and watches, the options of writes, and DeleteOptions from body or query.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import attrs

from edgek.client.transport import Request
from edgek.model import errors, selectors
from edgek.model.errors import Cause
from edgek.server.api.responses import invalid_options

Verb = Literal["Create", "Update", "Patch"]

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
NO_FIELDS = selectors.FieldSelector()
MANAGER_LIMIT = 128  # bytes of a fieldManager


@attrs.frozen
class ListOptions:
    """``revision`` keeps the text: empty and "0" mean different things."""

    labels: selectors.LabelSelector = selectors.EVERYTHING
    fields: selectors.FieldSelector = NO_FIELDS
    limit: int = 0
    continue_token: str = ""
    revision: str = ""
    match: str = ""
    timeout_s: int | None = None
    bookmarks: bool = False
    initial_events: bool | None = None

    @property
    def selects_all(self) -> bool:
        return self.labels.is_empty and self.fields.is_empty


EVERYTHING = ListOptions()


@functools.lru_cache(maxsize=256)
def _labels(text: str) -> selectors.LabelSelector:
    return selectors.parse_labels(text)


@functools.lru_cache(maxsize=256)
def _fields(text: str) -> selectors.FieldSelector:
    return selectors.parse_fields(text)


def list_options(request: Request, watching: bool) -> ListOptions:
    """Raises BadRequest, Invalid."""
    if not request.query:
        return EVERYTHING
    given: dict[str, str] = {}
    for key, value in request.query:
        given.setdefault(key, value)
    initial = given.get("sendInitialEvents", "")
    options = ListOptions(
        labels=_labels(given.get("labelSelector", "")),
        fields=_fields(given.get("fieldSelector", "")),
        limit=max(0, integer(given.get("limit", "")) or 0),
        continue_token=given.get("continue", ""),
        revision=given.get("resourceVersion", ""),
        match=given.get("resourceVersionMatch", ""),
        timeout_s=integer(given.get("timeoutSeconds", "")),
        bookmarks=boolean(given.get("allowWatchBookmarks", "")),
        initial_events=boolean(initial) if initial else None,
    )
    _check(options, watching)
    return options


def _check(options: ListOptions, watching: bool) -> None:
    causes = list(_watch_problems(options) if watching else _list_problems(options))
    if causes:
        raise invalid_options("ListOptions", *causes)
    if not watching and options.continue_token and options.revision not in ("", "0"):
        raise errors.BadRequest("specifying resource version is not allowed when using continue")


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _list_problems(options: ListOptions) -> list[Cause]:
    found = []
    if options.initial_events is not None:
        found.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    match = options.match
    if not match:
        return found
    if not options.revision:
        found.append(_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if options.continue_token:
        found.append(_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if match not in ("Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
        found.append(Cause("FieldValueNotSupported", text, "resourceVersionMatch"))
    if match == "Exact" and options.revision == "0":
        found.append(_forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return found


def _watch_problems(options: ListOptions) -> list[Cause]:
    found = []
    match = options.match
    if options.initial_events is None:
        if match:
            found.append(_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
        return found
    if match != "NotOlderThan":
        found.append(_forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match and match != "NotOlderThan":
        text = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        found.append(Cause("FieldValueNotSupported", text, "resourceVersionMatch"))
    if options.continue_token:
        found.append(_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    return found


def integer(text: str) -> int | None:
    """Raises BadRequest in the words of Go's strconv."""
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def boolean(text: str) -> bool:
    """A query parameter: present means true, unless it says otherwise."""
    return bool(text) and text not in FALSE


def revision_of(text: str) -> int:
    """A resourceVersion as a number; 0 for none. Raises ServerError: upstream answers 500 to a word."""
    if not text:
        return 0
    if not text.isdigit():
        problem = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.ServerError(problem)
    return int(text)


@attrs.frozen
class WriteOptions:
    dry_run: bool = False
    field_validation: str = "Warn"
    manager: str = ""


DEFAULT_WRITE = WriteOptions()


def write_options(request: Request, verb: Verb, *, applying: bool = False) -> WriteOptions:
    """Raises Invalid."""
    if not request.query:
        return DEFAULT_WRITE
    dry_run = [value for key, value in request.query if key == "dryRun" and value]
    manager = request.arg("fieldManager")
    validation = request.arg("fieldValidation")
    causes = []
    if verb == "Patch" and not applying and request.arg("force"):
        causes.append(_forbidden("force", "may not be specified for non-apply patch"))
    if len(manager.encode()) > MANAGER_LIMIT:
        causes.append(Cause("FieldValueTooLong", f"Too long: may not be more than {MANAGER_LIMIT} bytes", "fieldManager"))
    elif not manager.isprintable():
        causes.append(Cause("FieldValueInvalid", f'Invalid value: "{manager}": should only contain printable characters', "fieldManager"))
    causes += _dry_run_problems(dry_run)
    if validation not in ("", "Ignore", "Warn", "Strict"):
        text = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        causes.append(Cause("FieldValueNotSupported", text, "fieldValidation"))
    if causes:
        raise invalid_options(f"{verb}Options", *causes)
    return WriteOptions(bool(dry_run), validation or "Warn", manager)


def _dry_run_problems(dry_run: list[str]) -> list[Cause]:
    if all(value == "All" for value in dry_run):
        return []
    said = ",".join(f'"{value}"' for value in dry_run)
    return [Cause("FieldValueNotSupported", f'Unsupported value: [{said}]: supported values: "All"', "dryRun")]


@attrs.frozen
class DeleteOptions:
    grace_s: int | None = None
    uid: str = ""
    revision: str = ""
    propagation: str = ""
    orphan_dependents: bool | None = None
    dry_run: bool = False


def delete_options(body: dict[str, Any] | None, request: Request) -> DeleteOptions:
    """From the body, or from the query when there is none. Raises Invalid, BadRequest."""
    if body is None:
        dry_run = [value for key, value in request.query if key == "dryRun" and value]
        orphan = request.arg("orphanDependents")
        found = DeleteOptions(
            grace_s=integer(request.arg("gracePeriodSeconds")),
            propagation=request.arg("propagationPolicy"),
            orphan_dependents=boolean(orphan) if orphan else None,
        )
    else:
        dry_run = body.get("dryRun") or []
        before = body.get("preconditions") or {}
        found = DeleteOptions(
            body.get("gracePeriodSeconds"),
            before.get("uid") or "",
            before.get("resourceVersion") or "",
            body.get("propagationPolicy") or "",
            body.get("orphanDependents"),
        )
    causes = _delete_problems(found) + _dry_run_problems(dry_run)
    if causes:
        raise invalid_options("DeleteOptions", *causes)
    return attrs.evolve(found, dry_run=bool(dry_run))


def _delete_problems(options: DeleteOptions) -> list[Cause]:
    policy = options.propagation
    if policy and options.orphan_dependents is not None:
        text = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        return [Cause("FieldValueInvalid", text, "propagationPolicy")]
    if policy not in ("", "Foreground", "Background", "Orphan"):
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        return [Cause("FieldValueNotSupported", text, "propagationPolicy")]
    return []
