import pytest

from edgek.model import kinds, packed


def test_every_kind_that_can_be_listed_has_columns_or_none_by_choice():
    columns = packed.load("columns")
    listed = {f"{kind.group or 'core'}/{kind.version}/{kind.plural}" for kind in kinds.KINDS if "list" in kind.verbs}
    assert listed == set(columns)


@pytest.mark.parametrize("name", ["openapi", "columns", "roles", "objects"])
def test_what_is_packed_can_be_loaded(name):
    assert packed.load(name)


def test_structs_are_there_by_name_and_still_unparsed():
    assert packed.structs()["core/v1.ConfigMap"].startswith(b"[[1,")
