import pytest

from edgek.agent.runtime.reference import normalized


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("rancher/pause", "docker.io/rancher/pause:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("registry:5000/x", "registry:5000/x:latest"),
        ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00"),
    ],
)
def test_a_reference_is_stored_with_registry_and_tag(written: str, stored: str) -> None:
    assert normalized(written) == stored
