"""What is kept of the templates that a DaemonSet had."""

from __future__ import annotations

from edgek.server.controllers import history


def test_a_revisions_keys_are_in_order_however_the_template_was_written() -> None:
    template = {
        "spec": {"restartPolicy": "Always", "containers": [{"name": "web", "image": "shop/web:2"}]},
        "metadata": {"labels": {"tier": "front", "app": "web"}},
    }
    revision = history.data_of({"spec": {"template": template}})
    assert list(revision["spec"]["template"]) == ["$patch", "metadata", "spec"]
    assert list(revision["spec"]["template"]["metadata"]["labels"]) == ["app", "tier"]
    assert list(revision["spec"]["template"]["spec"]["containers"][0]) == ["image", "name"]
    assert revision == {"spec": {"template": {"$patch": "replace", **template}}}
