from __future__ import annotations

from pathlib import Path

import pytest
import trio

from edgek.agent.runtime import images_folder
from edgek.agent.runtime.runtime import RuntimeFailure, RuntimeGone
from tests.fakes import images
from tests.fakes.runtime import FakeRuntime, open_runtime


def imports(runtime: FakeRuntime) -> list[str]:
    return [Path(name).name for method, name in runtime.calls if method == "import_images"]


def lay(folder: Path, name: str, reference: str) -> None:
    (folder / f".{name}").write_bytes(images.docker_archive(reference, {"x": b"1"}))
    (folder / f".{name}").rename(folder / name)


async def test_what_lies_there_is_imported_before_it_is_ready_and_what_comes_after_too(tmp_path: Path) -> None:
    lay(tmp_path, "first.tar", "example.org/first:1")
    (tmp_path / "notes.txt").write_text("not an image")
    with trio.fail_after(20):
        async with open_runtime() as runtime, trio.open_nursery() as nursery:
            await nursery.start(images_folder.run, runtime, tmp_path)
            assert imports(runtime) == ["first.tar"]
            lay(tmp_path, "second.tar", "example.org/second:1")
            while await runtime.image("example.org/second:1") is None:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_after_a_restart_nothing_is_read_again(tmp_path: Path) -> None:
    lay(tmp_path, "app.tar", "example.org/app:1")
    async with open_runtime() as runtime:
        await images_folder.import_new(runtime, tmp_path)
        await images_folder.import_new(runtime, tmp_path)
        assert imports(runtime) == ["app.tar"]


async def test_a_changed_archive_and_a_removed_image_are_read_again(tmp_path: Path) -> None:
    lay(tmp_path, "app.tar", "example.org/app:1")
    async with open_runtime() as runtime:
        await images_folder.import_new(runtime, tmp_path)
        lay(tmp_path, "app.tar", "example.org/app:two")
        await images_folder.import_new(runtime, tmp_path)
        assert await runtime.image("example.org/app:two") is not None
        await runtime.remove_image("example.org/app:two")
        await images_folder.import_new(runtime, tmp_path)
        assert len(imports(runtime)) == 3


async def test_a_broken_archive_is_said_and_the_next_is_imported(tmp_path: Path, capsys: object) -> None:
    lay(tmp_path, "a.tar", "example.org/a:1")
    lay(tmp_path, "b.tar", "example.org/b:1")
    async with open_runtime() as runtime:
        runtime.failures["import_images"] = [RuntimeFailure("broken")]
        await images_folder.import_new(runtime, tmp_path)
        assert await runtime.image("example.org/b:1") is not None
        await images_folder.import_new(runtime, tmp_path)
        assert await runtime.image("example.org/a:1") is not None


async def test_a_runtime_that_goes_away_meanwhile_gets_them_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_folder, "AGAIN_S", 0)
    lay(tmp_path, "app.tar", "example.org/app:1")
    with trio.fail_after(20):
        async with open_runtime() as runtime, trio.open_nursery() as nursery:
            runtime.failures["import_images"] = [RuntimeGone("killed")]
            runtime.failures["images"] = [RuntimeGone("killed")]
            await nursery.start(images_folder.run, runtime, tmp_path)
            assert await runtime.image("example.org/app:1") is not None
            nursery.cancel_scope.cancel()
