"""Which admission steps a write meets."""

from __future__ import annotations

from typing import Any

from edgek.model import kinds
from edgek.model.kinds import Kind
from edgek.server.api.admission.base import Review, Step
from edgek.server.api.admit import Gate
from edgek.server.api.identity import User


class ForPods(Step):
    about = (kinds.POD,)
    subresources = ("", "status")

    def __init__(self) -> None:
        self.met: list[str] = []

    def admit(self, review: Review) -> None:
        self.met.append(f"admit {review.operation} {review.kind.plural} {review.subresource}".strip())

    def validate(self, review: Review) -> None:
        self.met.append(f"validate {review.operation} {review.kind.plural} {review.subresource}".strip())


class ForAlice(ForPods):
    def handles(self, review: Review) -> bool:
        return review.user.name == "alice"


def review(kind: Kind = kinds.POD, user: str = "bob", operation: Any = "CREATE", subresource: str = "") -> Review:
    return Review(User(user), operation, kind, "default", "web", subresource, {}, None, False, lambda *_: None, lambda *_: [])


def taken(step: ForPods, *reviews: Review) -> list[str]:
    gate = Gate(None, [step])  # type: ignore[arg-type]  # the store is for making reviews
    for one in reviews:
        gate.admit(one)
        gate.validate(one)
    return step.met


def test_a_step_meets_the_kinds_operations_and_subresources_that_it_names_every_time() -> None:
    met = taken(
        ForPods(), review(), review(kinds.SECRET), review(operation="UPDATE"), review(subresource="status"), review(subresource="log"), review()
    )
    assert met == ["admit CREATE pods", "validate CREATE pods", "admit CREATE pods status", "validate CREATE pods status", *met[:2]]


def test_a_step_that_looks_at_more_is_asked_for_each_write() -> None:
    assert taken(ForAlice(), review(user="bob"), review(user="alice"), review(user="bob")) == ["admit CREATE pods", "validate CREATE pods"]
