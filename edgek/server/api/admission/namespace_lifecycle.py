"""NamespaceLifecycle: nothing new in a namespace that is missing or ending, and three namespaces that stay."""

from __future__ import annotations

from edgek.model import kinds, objects
from edgek.model.errors import Cause
from edgek.server.api import responses
from edgek.server.api.admission.base import Review, Step, refused

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
TERMINATING_CAUSE = "NamespaceTerminating"


class NamespaceLifecycle(Step):
    name = "NamespaceLifecycle"

    def handles(self, review: Review) -> bool:
        if review.kind == kinds.NAMESPACE:
            return review.operation == "DELETE" and not review.subresource
        return bool(review.namespace) and review.operation != "DELETE" and review.kind != kinds.LOCAL_SUBJECT_ACCESS_REVIEW

    def admit(self, review: Review) -> None:
        if review.kind == kinds.NAMESPACE:
            if review.name in IMMORTAL:
                raise refused(review, "this namespace may not be deleted")
            return
        namespace = review.get(kinds.NAMESPACE, review.namespace, "")
        if namespace is None:
            raise responses.not_found(kinds.NAMESPACE, review.namespace)
        if review.operation != "CREATE" or not _is_ending(namespace):
            return
        error = refused(review, f"unable to create new content in namespace {review.namespace} because it is being terminated")
        error.causes = (Cause(TERMINATING_CAUSE, f"namespace {review.namespace} is being terminated", "metadata.namespace"),)
        raise error


def _is_ending(namespace: objects.Object) -> bool:
    return objects.is_deleting(namespace) or (namespace.get("status") or {}).get("phase") == "Terminating"
