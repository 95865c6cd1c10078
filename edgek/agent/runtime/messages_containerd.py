"""containerd's own services as tables: tasks, events, containers, content, images and leases, beside CRI on the same socket.

Field numbers are those of github.com/containerd/containerd/api; they are the same in 1.6 and 2.x. Calls carry the namespace ``k8s.io``, where CRI
keeps its things.
"""

from __future__ import annotations

from edgek.host.message import ANY, EMPTY, TIMESTAMP, Message, flag, labels, many, number, raw, sub, text, texts
from edgek.host.rpc import Method

NAMESPACE = {"containerd-namespace": "k8s.io"}
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
WRITE, COMMIT = 1, 2  # actions of content writes

_PROCESS = Message(
    container_id=text(1), id=text(2), pid=number(3), status=number(4), stdin=text(5), stdout=text(6), stderr=text(7), terminal=flag(8),
    exit_status=number(9),
)  # fmt: skip
_OF_PROCESS = Message(container_id=text(1), exec_id=text(2))
_DESCRIPTOR = Message(media_type=text(1), digest=text(2), size=number(3), annotations=labels(5))
_IMAGE = Message(name=text(1), labels=labels(2), target=sub(3, _DESCRIPTOR), created_at=sub(7, TIMESTAMP), updated_at=sub(8, TIMESTAMP))
_OF_IMAGE = Message(image=sub(1, _IMAGE))
_CONTAINER = Message(id=text(1), labels=labels(2), image=text(3), spec=sub(5, ANY))
ENVELOPE = Message(timestamp=sub(1, TIMESTAMP), namespace=text(2), topic=text(3), event=sub(4, ANY))

# What the events of ``/tasks/*`` carry, as far as a reader needs it: TaskExit and TaskDelete number their fields differently.
TASK_EVENT = Message(container_id=text(1))
TASK_EXIT = Message(container_id=text(1), id=text(2), pid=number(3), exit_status=number(4))
TASK_DELETE = Message(container_id=text(1), pid=number(2), exit_status=number(3), id=text(5))


def _method(service: str, name: str, request: Message, response: Message = EMPTY) -> Method:
    return Method(f"/containerd.services.{service}/{name}", request, response)


GET_TASK = _method("tasks.v1.Tasks", "Get", _OF_PROCESS, Message(process=sub(1, _PROCESS)))
EXEC = _method(
    "tasks.v1.Tasks",
    "Exec",
    Message(container_id=text(1), stdin=text(2), stdout=text(3), stderr=text(4), terminal=flag(5), spec=sub(6, ANY), exec_id=text(7)),
)
START = _method("tasks.v1.Tasks", "Start", _OF_PROCESS, Message(pid=number(1)))
WAIT = _method("tasks.v1.Tasks", "Wait", _OF_PROCESS, Message(exit_status=number(1)))
KILL = _method("tasks.v1.Tasks", "Kill", Message(container_id=text(1), exec_id=text(2), signal=number(3), all=flag(4)))
CLOSE_IO = _method("tasks.v1.Tasks", "CloseIO", Message(container_id=text(1), exec_id=text(2), stdin=flag(3)))
RESIZE = _method("tasks.v1.Tasks", "ResizePty", Message(container_id=text(1), exec_id=text(2), width=number(3), height=number(4)))
DELETE_PROCESS = _method("tasks.v1.Tasks", "DeleteProcess", _OF_PROCESS, Message(exit_status=number(3)))

GET_CONTAINER = _method("containers.v1.Containers", "Get", Message(id=text(1)), Message(container=sub(1, _CONTAINER)))

SUBSCRIBE = _method("events.v1.Events", "Subscribe", Message(filters=texts(1)), ENVELOPE)
PUBLISH = _method("events.v1.Events", "Publish", Message(topic=text(1), event=sub(2, ANY)))

CREATE_LEASE = _method("leases.v1.Leases", "Create", Message(id=text(1), labels=labels(3)))
DELETE_LEASE = _method("leases.v1.Leases", "Delete", Message(id=text(1), sync=flag(2)))
LIST_LEASES = _method(
    "leases.v1.Leases", "List", Message(filters=texts(1)), Message(leases=many(1, Message(id=text(1), created_at=sub(2, TIMESTAMP))))
)
LIST_RESOURCES = _method("leases.v1.Leases", "ListResources", Message(id=text(1)), Message(resources=many(1, Message(id=text(1), type=text(2)))))
LIST_STATUSES = _method(
    "content.v1.Content", "ListStatuses", Message(filters=texts(1)), Message(statuses=many(1, Message(ref=text(3), offset=number(4))))
)
WRITE_CONTENT = _method(
    "content.v1.Content",
    "Write",
    Message(action=number(1), ref=text(2), total=number(3), expected=text(4), offset=number(5), data=raw(6), labels=labels(7)),
    Message(action=number(1), offset=number(4), total=number(5), digest=text(6)),
)
ABORT_CONTENT = _method("content.v1.Content", "Abort", Message(ref=text(1)))
CREATE_IMAGE = _method("images.v1.Images", "Create", _OF_IMAGE, _OF_IMAGE)
UPDATE_IMAGE = _method("images.v1.Images", "Update", _OF_IMAGE, _OF_IMAGE)
LIST_IMAGES = _method("images.v1.Images", "List", Message(filters=texts(1)), Message(images=many(1, _IMAGE)))
DELETE_IMAGE = _method("images.v1.Images", "Delete", Message(name=text(1), sync=flag(2)))
