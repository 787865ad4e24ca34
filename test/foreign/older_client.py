"""A client as it was built from older sources: packages without `proto.`, and none of the calls and fields that were
added since. Prints what it got, as JSON."""

import json
import sys

import grpc
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict

from common.v1 import common_pb2
from orchestrator.v1 import orchestrator_pb2 as api
from orchestrator.v1 import orchestrator_pb2_grpc as services

socket, image = sys.argv[1:]
channel = grpc.insecure_channel(f"unix:{socket}")
client = services.OrchestratorServiceStub(channel)

session = client.CreateSession(
    api.CreateSessionRequest(
        metadata=api.SessionMetadata(name="older", labels={"generation": "before"}),
        config=api.SessionConfig(resource_limits=common_pb2.ResourceLimits(pids_limit=64)),
    )
).session
events = client.SubscribeEvents(api.SubscribeEventsRequest(filter=api.EventFilter(session_id=session.id)))
events.initial_metadata()  # the subscription is in force
container = client.CreateContainer(
    api.CreateContainerRequest(
        session_id=session.id,
        config=api.ContainerConfig(
            image=image,
            command=["sleep"],
            args=["300"],
            resource_limits=common_pb2.ResourceLimits(nano_cpu=500_000_000),
        ),
    )
).container
client.SendMessage(
    api.SendMessageRequest(session_id=session.id, message=api.Message(role=api.MESSAGE_ROLE_USER, content="hello"))
)
read = client.GetSession(api.GetSessionRequest(session_id=session.id)).session
client.StopContainer(api.StopContainerRequest(container_id=container.id, timeout_ns=1))
client.RemoveContainer(api.RemoveContainerRequest(container_id=container.id))
closed = client.CloseSession(api.CloseSessionRequest(session_id=session.id, reason="done"))
seen = []
for event in events:
    seen.append(api.EventType.Name(event.type) if event.type < 100 else event.type)
    if event.type == api.EVENT_TYPE_SESSION_CLOSED:
        break
try:
    client.GetSession(api.GetSessionRequest(session_id="nobody"))
except grpc.RpcError as error:
    failed = error.code().name

print(
    json.dumps(
        {
            "container": MessageToDict(container),
            "messages": [message.content for message in read.context.messages],
            "containerIds": [container.id] == list(read.container_ids),
            "closed": api.SessionState.Name(closed.state),
            "events": seen,
            "failed": failed,
            "health": MessageToDict(client.HealthCheck(empty_pb2.Empty())),
        }
    )
)
