from __future__ import annotations

from edgek.host.mount_table import Mount, mount_points, mounts, of_line


def test_a_line_without_optional_fields() -> None:
    line = "36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue\n"
    found = of_line(line)
    assert found == Mount("/mnt2", "/mnt1", "98:0", ("rw", "noatime"), "ext3", "/dev/root")
    assert (found.read_only, found.served) == (False, False)


def test_a_share_with_blanks_in_its_name_and_optional_fields() -> None:
    found = of_line(r"40 35 0:52 / /var/a\040b\134c ro,nosuid shared:1 master:2 - nfs4 192.0.2.1:/ex\040port rw,vers=4.2")
    assert (found.point, found.source) == ("/var/a b\\c", "192.0.2.1:/ex port")
    assert (found.read_only, found.served) == (True, True)


def test_the_kernels_table_begins_with_its_root() -> None:
    assert "/proc" in mount_points()
    assert [each.point for each in mounts()] == mount_points()
