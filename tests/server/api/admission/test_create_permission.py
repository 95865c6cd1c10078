"""Creating by another verb."""

from __future__ import annotations

import pytest

from edgek.model import kinds
from edgek.model.errors import Forbidden
from edgek.server.api.admission.create_permission import CreatePermission
from edgek.server.api.authz import Authorizer
from edgek.server.api.identity import User
from edgek.server.store.memory import MemoryBackend
from tests.server.api.admission.reviewing import ADMIN, named, review

ALICE = User("alice")


async def test_a_patch_that_creates_needs_the_verb_create() -> None:
    step = CreatePermission(Authorizer(MemoryBackend()))
    under = review(kinds.CONFIG_MAP, named("x"), user=ALICE, verb="patch")
    assert step.handles(under)
    with pytest.raises(Forbidden) as caught:
        step.admit(under)
    assert caught.value.message == (
        'configmaps "x" is forbidden: User "alice" cannot create resource "configmaps" in API group "" in the namespace "ns"'
    )
    step.admit(review(kinds.CONFIG_MAP, named("x"), user=ADMIN, verb="patch"))


async def test_other_writes_were_judged_before() -> None:
    step = CreatePermission(Authorizer(MemoryBackend()))
    assert not step.handles(review(kinds.CONFIG_MAP, named("x"), user=ALICE, verb="create"))
    assert not step.handles(review(kinds.CONFIG_MAP, named("x"), user=ALICE, verb="patch", operation="UPDATE", old=named("x")))
