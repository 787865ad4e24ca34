"""A worker of one's own: it answers tasks of the type `custom` with their input in capitals, as it comes.

    pip install -r requirements.txt && ./generate.sh
    python worker.py --socket /tmp/baaaht-grpc.sock
    baaaht task create --type custom --data words.txt
"""

import argparse
import pathlib
import queue
import signal
import sys
import threading

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).parent / "gen"))
from proto.agent.v1 import agent_pb2 as api  # noqa: E402
from proto.agent.v1 import agent_pb2_grpc as services  # noqa: E402


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--socket", default="/tmp/baaaht-grpc.sock")
    client = services.AgentServiceStub(grpc.insecure_channel(f"unix:{arguments.parse_args().socket}"))
    capabilities = api.AgentCapabilities(supported_tasks=["custom"], max_concurrent_tasks=4, supports_streaming=True)
    me = client.Register(
        api.RegisterRequest(name="shouter in Python", type=api.AGENT_TYPE_WORKER, capabilities=capabilities)
    )
    metadata = (("x-baaaht-agent-token", me.registration_token),)

    # An open line is a sign of life, and what tasks come by. It says nothing but who it is.
    saying = queue.Queue()
    saying.put(api.StreamAgentRequest(agent_id=me.agent_id, heartbeat={}))
    line = client.StreamAgent(iter(saying.get, None), metadata=metadata)
    line.initial_metadata()  # it is in place
    signal.signal(signal.SIGTERM, lambda *_: saying.put(None))  # half-closes, and the server ends it
    print("ready as", me.agent_id, flush=True)
    for said in line:
        if said.message.type == api.MESSAGE_TYPE_TASK_REQUEST:
            attempt = said.message.metadata.headers["attempt"]
            mine = (*metadata, ("x-baaaht-attempt", attempt))
            threading.Thread(target=shout, args=(client, said.message.task_message.task_id, mine)).start()
    client.Unregister(api.UnregisterRequest(agent_id=me.agent_id, reason="it was told to stop"), metadata=metadata)
    print("signed off", flush=True)


def shout(client: services.AgentServiceStub, task_id: str, metadata: tuple) -> None:
    reports = queue.Queue()
    reports.put(api.StreamTaskRequest(task_id=task_id, heartbeat={}))  # "I am its worker"
    stream = client.StreamTask(iter(reports.get, None), metadata=metadata)
    task = client.GetTaskStatus(api.GetTaskStatusRequest(task_id=task_id)).task
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)
        reports.put(api.StreamTaskRequest(output={"text": data.decode().upper(), "stream_type": "stdout"}))

    def complete() -> None:
        result = api.TaskResult(exit_code=0, metadata={"bytes": str(written)})
        reports.put(api.StreamTaskRequest(complete={"result": result}))
        reports.put(None)

    if task.config.input_data:  # a task has its input in itself, or its callers send it
        write(task.config.input_data)
        complete()
    for said in stream:
        if said.HasField("output") and said.output.stream_type == "stdin":
            write(said.output.data)
            if said.output.end:
                complete()
        elif said.HasField("status") and said.status.state == api.TASK_STATE_CANCELLED:
            reports.put(api.StreamTaskRequest(status={"state": api.TASK_STATE_CANCELLED}))
            reports.put(None)
    print(task_id, "over", flush=True)


if __name__ == "__main__":
    main()
