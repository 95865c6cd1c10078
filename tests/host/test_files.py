import stat

import pytest

from edgek.host import files


def test_a_file_is_replaced_whole_with_the_mode_asked_for(tmp_path):
    path = tmp_path / "deep" / "secret"
    files.write_atomically(path, "old", 0o644)
    files.write_atomically(path, b"new", files.SECRET_MODE)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept"
    files.write_atomically(path, "old")
    with pytest.raises(TypeError):
        files.write_atomically(path, 7)  # type: ignore[arg-type]
    assert path.read_text() == "old"
