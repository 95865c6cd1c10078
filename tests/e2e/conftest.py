from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.cluster import REPOSITORY, Cluster


@pytest.fixture(scope="session")
def web_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.web(tmp_path_factory.mktemp("images") / "one.tar", "docker.io/library/nginx:1.27", "one")


@pytest.fixture(scope="session")
def web_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.web(tmp_path_factory.mktemp("images") / "two.tar", "docker.io/library/nginx:1.28", "two")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, web_one: Path) -> Path:
    """A folder with ``dist``, in which lies the one file of this checkout with what belongs to it, and ``key.pem``, by which it is signed. With kubectl and
    the first version of the web server in it; hardly compressed, for that takes a minute."""
    work = tmp_path_factory.mktemp("built")
    key, images = work / "key.pem", work / "images"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    images.mkdir()
    shutil.copy(web_one, images)
    kubectl = shutil.which("kubectl")
    assert kubectl
    command = [REPOSITORY / "packaging" / "build.sh", "--level", "1", "--sign", key, "--images", images, "--with-kubectl", kubectl]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    (work / "dist").mkdir()
    shutil.copy(REPOSITORY / "dist" / "install.sh", work / "dist")
    for file in (REPOSITORY / "dist").glob("edgek-*-linux-amd64*"):
        shutil.copy(file, work / "dist")
    return work


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
