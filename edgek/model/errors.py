"""Every error that edgek raises on purpose: one class per decision of the caller.

API errors carry all that a Kubernetes ``Status`` needs (reason, code, details); the request border turns them into one, and ``client`` turns a
Status back into the same class, so that a controller catches ``Conflict`` whether it runs in the server's process or on an agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs


class EdgekError(Exception):
    """The root of what we raise on purpose."""


class UsageError(EdgekError):
    """A flag, variable, file or host that must be mended by the person who started edgek. The message says how."""


@attrs.frozen
class Cause:
    """One entry of ``Status.details.causes``."""

    reason: str
    message: str
    field: str = ""


class ApiError(EdgekError):
    """A request that cannot be answered as asked.

    ``kind`` is what details call it: the resource's plural for most reasons, the Kind for Invalid.
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        name: str = "",
        group: str = "",
        kind: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.group = group
        self.kind = kind
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s

    def details(self) -> dict[str, Any]:
        """``Status.details``, empty members left out."""
        found: dict[str, Any] = {"name": self.name, "group": self.group, "kind": self.kind, "uid": self.uid}
        if self.causes:
            found["causes"] = [{k: v for k, v in attrs.asdict(cause).items() if v} for cause in self.causes]
        if self.retry_after_s:
            found["retryAfterSeconds"] = self.retry_after_s
        return {key: value for key, value in found.items() if value}


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class Expired(ApiError):
    """The revision asked for is older than what is kept: list again."""

    code, reason = 410, "Expired"


class Gone(ApiError):
    code, reason = 410, "Gone"


class TooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class ServerError(ApiError):
    """A plain 500 without a reason: some answers of upstream are that, and clients see them."""

    code, reason = 500, ""


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_CLASSES: tuple[type[ApiError], ...] = (
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Expired,
    Gone,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServerError,
    ServiceUnavailable,
    Timeout,
)
_BY_REASON = {cls.reason: cls for cls in _CLASSES if cls.reason}
_BY_CODE = {cls.code: cls for cls in reversed(_CLASSES)}


def from_status(status: dict[str, Any], code: int) -> ApiError:
    """The error class that a Status object (or a bare HTTP code, with an empty dict) stands for."""
    details = status.get("details") or {}
    cls = _BY_REASON.get(status.get("reason", "")) or _BY_CODE.get(code, ServerError)
    return cls(
        status.get("message") or f"the server answered {code}",
        name=details.get("name", ""),
        group=details.get("group", ""),
        kind=details.get("kind", ""),
        uid=details.get("uid", ""),
        causes=[Cause(c.get("reason", ""), c.get("message", ""), c.get("field", "")) for c in details.get("causes") or ()],
        retry_after_s=details.get("retryAfterSeconds", 0),
    )
