"""Acting as somebody else: ``Impersonate-*`` headers, each part of which the user must be allowed to put on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgek.model.errors import BadRequest
from edgek.server.api.authn import extras, values, with_group
from edgek.server.api.authz import Authorizer, forbidden
from edgek.server.api.identity import ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP, Attributes, User
from edgek.server.api.quoting import quoted
from edgek.server.api.tokens import split_user, user_of

USER, UID, GROUP, EXTRA = "impersonate-user", "impersonate-uid", "impersonate-group", "impersonate-extra-"
REVIEWS_GROUP = "authentication.k8s.io"


def impersonate(user: User, headers: Mapping[str, str], authorizer: Authorizer) -> User:
    """The user to act as: ``user`` where no header asks for another. Raises Forbidden, BadRequest."""
    if not any(name.startswith("impersonate-") for name in headers):
        return user
    wanted = User(headers.get(USER, ""), headers.get(UID, ""), values(headers, GROUP), extras(headers, EXTRA))
    if not wanted.name:
        if not (wanted.uid or wanted.groups or wanted.extra):
            return user
        raise BadRequest(f"requested {_shown(wanted)} without impersonating a user name")
    for asked in _questions(user, wanted):
        decision = authorizer.authorize(asked)
        if not decision.allowed:
            raise forbidden(asked, decision.reason)
    return _completed(wanted)


def _questions(user: User, wanted: User) -> Iterator[Attributes]:
    account = split_user(wanted.name)
    if account:
        yield Attributes(user, "impersonate", version="v1", resource="serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield Attributes(user, "impersonate", version="v1", resource="users", name=wanted.name)
    for group in wanted.groups:
        yield Attributes(user, "impersonate", version="v1", resource="groups", name=group)
    for key, texts in wanted.extra.items():
        for text in texts:
            yield Attributes(user, "impersonate", group=REVIEWS_GROUP, version="v1", resource="userextras", subresource=key, name=text)
    if wanted.uid:
        yield Attributes(user, "impersonate", group=REVIEWS_GROUP, version="v1", resource="uids", name=wanted.uid)


def _completed(wanted: User) -> User:
    """With the groups that such a user always has."""
    account = split_user(wanted.name)
    groups = wanted.groups or (user_of(*account).groups if account else ())
    found = User(wanted.name, wanted.uid, groups, wanted.extra)
    if wanted.name == ANONYMOUS:
        return with_group(found, UNAUTHENTICATED_GROUP)
    return found if UNAUTHENTICATED_GROUP in groups else with_group(found, AUTHENTICATED_GROUP)


def _shown(user: User) -> str:
    """As upstream prints it in its refusal."""
    groups = _strings(user.groups) if user.groups else "[]string(nil)"
    extra = ", ".join(f"{quoted(key)}:{_strings(texts)}" for key, texts in sorted(user.extra.items()))
    shown_extra = f"map[string][]string{{{extra}}}" if extra else "map[string][]string(nil)"
    return f"&user.DefaultInfo{{Name:{quoted(user.name)}, UID:{quoted(user.uid)}, Groups:{groups}, Extra:{shown_extra}}}"


def _strings(texts: tuple[str, ...]) -> str:
    return f"[]string{{{', '.join(quoted(text) for text in texts)}}}"
