from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.cluster import Cluster


@pytest.fixture(scope="session")
def web_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.web(tmp_path_factory.mktemp("images") / "one.tar", "docker.io/library/nginx:1.27", "one")


@pytest.fixture(scope="session")
def web_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.web(tmp_path_factory.mktemp("images") / "two.tar", "docker.io/library/nginx:1.28", "two")


@pytest.fixture(scope="module")
def cluster(web_one: Path, web_two: Path) -> Iterator[Cluster]:
    """One node with the two versions of the web server, shared by a module's tests."""
    cluster = Cluster()
    try:
        for image in (web_one, web_two):
            (cluster.images / image.name).hardlink_to(image) if image.stat().st_dev == cluster.images.stat().st_dev else (
                cluster.images / image.name
            ).write_bytes(image.read_bytes())
        cluster.start()
        yield cluster
    finally:
        cluster.remove()
