"""Why a write is refused: the three answers, in the words that clients of Kubernetes know."""

from __future__ import annotations

from edgek.model import errors
from edgek.server.store.backend import Key


def already_exists(key: Key) -> errors.AlreadyExists:
    plural, group = _kind(key)
    return errors.AlreadyExists(f'{key.resource} "{key.name}" already exists', name=key.name, group=group, kind=plural)


def not_found(key: Key) -> errors.NotFound:
    plural, group = _kind(key)
    return errors.NotFound(f'{key.resource} "{key.name}" not found', name=key.name, group=group, kind=plural)


def conflict(key: Key) -> errors.Conflict:
    plural, group = _kind(key)
    return errors.Conflict(
        f'Operation cannot be fulfilled on {key.resource} "{key.name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        name=key.name,
        group=group,
        kind=plural,
    )


def _kind(key: Key) -> tuple[str, str]:
    plural, _, group = key.resource.partition(".")
    return plural, group
