"""A worker as it was built from older sources: packages without `proto.`, no token, no line and no attempts. It asks for
work by its heartbeats, opens a task's stream with a heartbeat that has the task's id, and leaves the id out after that."""

import queue
import sys
import time

import grpc

from agent.v1 import agent_pb2 as api
from agent.v1 import agent_pb2_grpc as services

client = services.AgentServiceStub(grpc.insecure_channel(f"unix:{sys.argv[1]}"))
agent = client.Register(
    api.RegisterRequest(
        name="older",
        type=api.AGENT_TYPE_WORKER,
        capabilities=api.AgentCapabilities(supported_tasks=["custom"], max_concurrent_tasks=1),
    )
)
print("ready as", agent.agent_id, flush=True)


def do(task_id: str) -> None:
    task = client.GetTaskStatus(api.GetTaskStatusRequest(task_id=task_id)).task
    frames = queue.Queue()
    frames.put(api.StreamTaskRequest(task_id=task_id, heartbeat={}))
    frames.put(api.StreamTaskRequest(status={"state": api.TASK_STATE_RUNNING, "message": "begun"}))
    frames.put(api.StreamTaskRequest(progress={"percent": 0.5, "message": "half"}))
    stream = client.StreamTask(iter(frames.get, None))
    data = task.config.input_data
    if not data:
        data = next(said.output.data for said in stream if said.output.stream_type == "stdin")
    frames.put(api.StreamTaskRequest(output={"text": data.decode().upper(), "stream_type": "stdout"}))
    if task.config.command == "fail":
        frames.put(api.StreamTaskRequest(error_msg={"code": "WORN_OUT", "message": "it is too old for that"}))
    else:
        result = api.TaskResult(exit_code=3, output_text="done", metadata={"age": "old"})
        frames.put(api.StreamTaskRequest(complete={"task_id": task_id, "result": result}))
    for _ in stream:  # to its end, which says that the report has arrived
        pass
    frames.put(None)
    print(task_id, "over", flush=True)


while True:
    for pending in client.Heartbeat(api.HeartbeatRequest(agent_id=agent.agent_id)).pending_tasks:
        do(pending)
    time.sleep(0.2)
