"""What a program that runs agents does with baaaht: a session, a container, a command in it with input and output, one
that outlives its call, files in and out, a pause, what it uses, the log of all of it over a connection that breaks, and
errors that say what is wrong.

    pip install -r requirements.txt
    ./generate.sh                                  # makes gen/ from ../../proto
    python example.py --socket /tmp/baaaht-grpc.sock --image python:3.11
"""

import argparse
import io
import pathlib
import sys
import tarfile
import threading
import time
import uuid

import grpc
from google.protobuf import empty_pb2, timestamp_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

sys.path.insert(0, str(pathlib.Path(__file__).parent / "gen"))
from proto.common.v1 import common_pb2  # noqa: E402
from proto.orchestrator.v1 import orchestrator_pb2 as api  # noqa: E402
from proto.orchestrator.v1 import orchestrator_pb2_grpc as services  # noqa: E402

# As if the network broke: every connection of the watch is cut after so many events.
EVENTS_PER_CONNECTION = 2
# Seconds. CreateContainer may pull an image.
CALL_TIMEOUT = 60


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--socket", default="/tmp/baaaht-grpc.sock")
    arguments.add_argument("--image", default="python:3.11")
    given = arguments.parse_args()
    # One channel for all calls that answer and end; watch() has its own.
    with dial(given.socket) as channel:
        run(channel, given.socket, given.image)


def dial(socket: str) -> grpc.Channel:
    return grpc.insecure_channel(f"unix:{socket}")


def run(channel: grpc.Channel, socket: str, image: str) -> None:
    client = services.OrchestratorServiceStub(channel)
    checked = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(service="orchestrator"), timeout=10
    )
    print("health:", health_pb2.HealthCheckResponse.ServingStatus.Name(checked.status))

    created = client.CreateSession(
        api.CreateSessionRequest(
            metadata=api.SessionMetadata(name="my-session", owner_id="user-123", labels={"example": "python"}),
            config=api.SessionConfig(max_containers=10, idle_timeout_ns=3600_000_000_000),
            # Whoever gets no answer sends the same again, and has one session.
            idempotency_key=f"example-{uuid.uuid4()}",
        ),
        timeout=10,
    )
    session_id = created.session_id
    print("session:", api.SessionState.Name(created.session.state))

    watched: list[api.Event] = []
    watcher = threading.Thread(target=watch, args=(socket, session_id, watched), daemon=True)
    watcher.start()

    made = client.CreateContainer(
        api.CreateContainerRequest(
            session_id=session_id,
            config=api.ContainerConfig(
                image=image,
                command=["sleep"],
                args=["300"],
                env={"GREETING": "hello"},
                resource_limits=common_pb2.ResourceLimits(nano_cpu=500_000_000, memory_bytes=256 * 1024 * 1024),
            ),
        ),
        timeout=CALL_TIMEOUT,
    )
    print("container:", api.ContainerState.Name(made.container.state))

    start = api.ExecStart(
        container_id=made.container_id,
        command=["sh", "-c", 'echo "$GREETING"; tr a-z A-Z; exit 3'],
        stdin=True,
    )
    output, end = execute(client, start, b"from python\n")
    print(f"exec: {output!r}, ended with {end.exited.code}")

    leave_and_join(client, made.container_id)
    copy_out(client, made.container_id, "/tmp/news")

    paused = client.PauseContainer(api.PauseContainerRequest(container_id=made.container_id), timeout=10)
    resumed = client.ResumeContainer(api.ResumeContainerRequest(container_id=made.container_id), timeout=10)
    print(f"pause: {api.ContainerState.Name(paused.state)}, {api.ContainerState.Name(resumed.state)}")

    # The first of the readings that would come once a second.
    readings = client.StreamContainerStats(
        api.StreamContainerStatsRequest(container_id=made.container_id, interval_ns=1_000_000_000)
    )
    usage = next(readings).usage
    readings.cancel()
    print(f"stats: {usage.pids_count} processes, {usage.memory_usage >> 10} KiB of {usage.memory_limit >> 10} KiB")

    hello = api.Message(role=api.MESSAGE_ROLE_USER, content="Hello, orchestrator!")
    client.SendMessage(api.SendMessageRequest(session_id=session_id, message=hello), timeout=10)

    try:
        client.GetSession(api.GetSessionRequest(session_id="00000000-0000-7000-8000-000000000000"), timeout=10)
    except grpc.RpcError as error:
        explain(error)
    try:
        client.CreateSession(api.CreateSessionRequest(config=api.SessionConfig(max_containers=-1)), timeout=10)
    except grpc.RpcError as error:
        explain(error)

    closed = client.CloseSession(
        api.CloseSessionRequest(session_id=session_id, reason="the example is over"), timeout=CALL_TIMEOUT
    )
    print("session:", api.SessionState.Name(closed.state))
    watcher.join(timeout=30)
    compare_with_log(client, session_id, watched)
    print("containers left:", client.GetStatus(empty_pb2.Empty(), timeout=10).active_containers)


def execute(client, start: api.ExecStart, stdin: bytes) -> tuple[bytes, api.ExecEnd]:
    """Runs a command, gives it input, and returns what it wrote to stdout and how it ended."""

    def frames():
        yield api.ExecContainerRequest(start=start)
        yield api.ExecContainerRequest(stdin=stdin)
        # The end of the frames ends stdin, not the command.

    stdout, end = b"", None
    for frame in client.ExecContainer(frames(), timeout=CALL_TIMEOUT):
        stdout += frame.stdout
        if frame.HasField("end"):  # exactly one, after all output
            end = frame.end
    return stdout, end


def leave_and_join(client, container_id: str) -> None:
    """Starts a command that outlives its call, loses the call, and joins the command where it was lost. The offset behind
    the last byte is all that has to be remembered."""
    start = api.ExecStart(
        container_id=container_id,
        command=["sh", "-c", "echo one; until [ -e /tmp/news ]; do sleep 0.1; done; cat /tmp/news; exit 5"],
        detach_on_disconnect=True,
    )
    exec_id, before, offset = "", b"", 0
    call = client.ExecContainer(iter([api.ExecContainerRequest(start=start)]), timeout=CALL_TIMEOUT)
    for frame in call:
        exec_id = frame.started.exec_id or exec_id
        before = frame.stdout
        offset = frame.offset + len(before)
        if before:
            break
    call.cancel()

    copy_in(client, container_id, "news", b"two\n")
    after, end = b"", None
    attach = api.AttachExecRequest(start=api.AttachStart(exec_id=exec_id, offset=offset))
    for frame in client.AttachExec(iter([attach]), timeout=CALL_TIMEOUT):
        after += frame.stdout
        if frame.HasField("end"):
            end = frame.end
    print(f"attach: {before!r}, then from byte {offset} {after!r}, ended with {end.exited.code}")


def copy_in(client, container_id: str, name: str, text: bytes) -> None:
    """Makes a file in /tmp of a container: the frames are a tar archive, cut anywhere, of at most 1 MiB each."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    start = api.CopyToContainerStart(container_id=container_id, path="/tmp")
    frames = [api.CopyToContainerRequest(start=start), api.CopyToContainerRequest(data=archive.getvalue())]
    client.CopyToContainer(iter(frames), timeout=CALL_TIMEOUT)


def copy_out(client, container_id: str, path: str) -> None:
    """Reads a file of a container. Nothing is written here, so that the archive's names can't do harm."""
    frames = client.CopyFromContainer(
        api.CopyFromContainerRequest(container_id=container_id, path=path), timeout=CALL_TIMEOUT
    )
    stat = next(frames).stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(frame.data for frame in frames))) as tar:
        text = tar.extractfile(tar.next()).read()
    print(f"copy: {stat.name} of {stat.size} bytes, {text!r}")


def watch(socket: str, session_id: str, events: list[api.Event]) -> None:
    """Follows a session's events until it is closed, over as many connections as it takes. The cursor of the last event
    is all that has to be remembered."""
    connections = 0
    while True:
        connections += 1
        cursor = events[-1].cursor if events else ""
        request = api.SubscribeEventsRequest(
            filter=api.EventFilter(session_id=session_id), from_start=cursor == "", resume_after=cursor
        )
        # A channel of its own. grpcio shares connections between channels that look the same, hence the option.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"unix:{socket}", options) as channel:
            try:
                for count, event in enumerate(services.OrchestratorServiceStub(channel).SubscribeEvents(request), 1):
                    events.append(event)
                    if event.type == api.EVENT_TYPE_SESSION_CLOSED:
                        print(f"watch: {len(events)} events over {connections} connections")
                        return
                    if count == EVENTS_PER_CONNECTION:
                        break  # and the connection is cut
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                time.sleep(0.1)  # until the server is back


def compare_with_log(client, session_id: str, watched: list[api.Event]) -> None:
    """The log has the same events, each once, in the same order."""
    now = timestamp_pb2.Timestamp()
    now.GetCurrentTime()  # an end_time that is over makes the stream end where the log does
    request = api.SubscribeEventsRequest(
        filter=api.EventFilter(session_id=session_id, end_time=now), from_start=True
    )
    logged = list(client.SubscribeEvents(request, timeout=10))
    for event in logged:
        print(f"  {api.EventType.Name(event.type)} by {event.source} {dict(event.data)}")
    if [event.id for event in logged] != [event.id for event in watched]:
        raise SystemExit("the watch missed or repeated an event")
    print("watch: nothing lost, nothing twice")


def explain(error: grpc.RpcError) -> None:
    """Prints what an error says to people, and what it says to programs."""
    print(f"error: {error.code().name}: {error.details()}")
    for detail in rpc_status.from_call(error).details:
        bad_request, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
        if detail.Unpack(bad_request):
            for violation in bad_request.field_violations:
                print(f"  field {violation.field} {violation.description}")
        elif detail.Unpack(info):
            print(f"  reason {info.reason} of {info.domain}")


if __name__ == "__main__":
    main()
