from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgek.agent.kubelet.environment import ConfigError
from edgek.agent.kubelet.security import of_container
from edgek.agent.runtime.runtime import Image, SecurityContext

PROFILES = Path("/seccomp")


def made(pod: Any, container: Any, user: str = "") -> SecurityContext:
    value = {"metadata": {"name": "web", "namespace": "d", "uid": "u"}, "spec": {"securityContext": pod}}
    return of_container(value, {"name": "c", "securityContext": container}, Image("i", (), (), 0, user), PROFILES)


def test_the_container_has_the_last_word() -> None:
    found = made({"runAsUser": 1, "runAsGroup": 5, "fsGroup": 7, "supplementalGroups": [8]}, {"runAsUser": 2})
    assert (found.run_as_user, found.run_as_group, found.supplemental_groups) == (2, 5, (8, 7))


def test_capabilities_and_privileges() -> None:
    found = made({}, {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True})
    assert (found.add_capabilities, found.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    assert (found.no_new_privileges, found.read_only_root, found.privileged) == (True, True, False)


@pytest.mark.parametrize(
    ("profile", "wanted"),
    [
        (None, "Unconfined"),
        ({"type": "RuntimeDefault"}, "RuntimeDefault"),
        ({"type": "Localhost", "localhostProfile": "a/b.json"}, "Localhost//seccomp/a/b.json"),
    ],
)
def test_seccomp(profile: Any, wanted: str) -> None:
    assert made({"seccompProfile": profile}, {}).seccomp == wanted


@pytest.mark.parametrize(
    ("container", "user", "words"),
    [
        ({"runAsUser": 0}, "", "container's runAsUser breaks non-root policy"),
        ({}, "", "container has runAsNonRoot and image will run as root"),
        ({}, "0:0", "container has runAsNonRoot and image will run as root"),
        ({}, "nobody", "non-numeric user \\(nobody\\), cannot verify user is non-root"),
    ],
)
def test_root_is_refused(container: Any, user: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made({"runAsNonRoot": True}, container, user)


def test_others_are_not() -> None:
    assert made({"runAsNonRoot": True}, {}, "1000:1000").run_as_user is None
    assert made({"runAsNonRoot": True}, {"runAsUser": 7}).run_as_user == 7
    assert made({"runAsNonRoot": True}, {"runAsNonRoot": False}).run_as_user is None
