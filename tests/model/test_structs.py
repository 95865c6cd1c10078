from edgek.model import kinds, structs


def test_merge_metadata_is_known_for_patches():
    containers = structs.named("core/v1.PodSpec").fields["containers"]
    assert (containers.merge_key, containers.merges, containers.list_type, containers.list_keys) == ("name", True, "map", ("name",))
    volumes = structs.named("core/v1.PodSpec").fields["volumes"]
    assert set(volumes.strategies) == {"merge", "retainKeys"}
    assert structs.named("core/v1.PodSpec").fields["tolerations"].list_type == "atomic"


def test_inlined_members_stand_among_those_of_their_owner_but_not_on_the_wire():
    volume = structs.named("core/v1.Volume")
    assert volume.fields["emptyDir"].base == "core/v1.EmptyDirVolumeSource"
    assert volume.wire[2].inlined


def test_every_kind_has_a_struct_and_a_list():
    assert all(structs.of_kind(kind) for kind in kinds.KINDS)
    assert all(structs.root(kind.group, kind.version, f"{kind.name}List") for kind in kinds.KINDS if "list" in kind.verbs)


def test_every_field_can_be_compiled_and_names_a_type_that_exists():
    for name in structs._sources():
        for field in structs.named(name).fields.values():
            assert field.go_type
            assert field.struct is not None or "/" not in field.base


def test_options_are_found_in_whatever_group_they_name_themselves():
    assert structs.root("apps", "v1", "DeleteOptions") is not None
    assert structs.root("example.com", "v1", "Widget") is None
