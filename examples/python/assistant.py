"""An assistant in some 60 lines, to copy and to put a model into: it answers with the question's words turned around.

    python assistant.py --socket /tmp/baaaht-grpc.sock     # and then, elsewhere: python chat.py "hello there"
"""

import argparse
import collections.abc
import pathlib
import queue
import sys
import threading

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).parent / "gen"))
from proto.agent.v1 import agent_pb2 as api  # noqa: E402
from proto.agent.v1 import agent_pb2_grpc as services  # noqa: E402


def answer(question: str) -> collections.abc.Iterator[str]:
    """The text of an answer, in pieces as they are made. Here a model would be asked."""
    for word in reversed(question.split()):
        yield word + " "


def reply(agent_id: str, asked: api.AgentMessage, say: collections.abc.Callable[[api.StreamAgentRequest], None]) -> None:
    """Answers one question in numbered parts, the last of which is final; or says why it can't."""

    def frame(kind: int, text: str, headers: dict[str, str]) -> api.StreamAgentRequest:
        data = api.DataMessage(content_type="text/plain", data=text.encode(), headers=headers)
        # The question's correlation id joins the answer to it.
        metadata = api.AgentMessageMetadata(correlation_id=asked.metadata.correlation_id)
        message = api.AgentMessage(type=kind, source_id=agent_id, target_id="orchestrator", data_message=data, metadata=metadata)
        return api.StreamAgentRequest(message=message)

    try:
        pieces = [*enumerate(answer(asked.data_message.data.decode()))]
        for part, piece in pieces:
            say(frame(api.MESSAGE_TYPE_DATA, piece, {"part": str(part)}))
        say(frame(api.MESSAGE_TYPE_DATA, "", {"part": str(len(pieces)), "final": "true"}))
    except Exception as error:  # whoever has asked wants to know
        say(frame(api.MESSAGE_TYPE_ERROR, f"Cannot answer: {error}", {}))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--socket", default="/tmp/baaaht-grpc.sock")
    with grpc.insecure_channel(f"unix:{arguments.parse_args().socket}") as channel:
        client = services.AgentServiceStub(channel)
        # The label, or the name `assistant`, makes it the one that answers conversations.
        about = api.AgentMetadata(labels={"role": "assistant"})
        agent = client.Register(api.RegisterRequest(name="turner", type=api.AGENT_TYPE_WORKER, metadata=about))
        frames: queue.SimpleQueue[api.StreamAgentRequest] = queue.SimpleQueue()
        frames.put(api.StreamAgentRequest(agent_id=agent.agent_id, heartbeat={}))
        line = client.StreamAgent(iter(frames.get, None))
        line.initial_metadata()  # the line is in place
        print("ready", flush=True)
        for received in line:
            if received.message.type == api.MESSAGE_TYPE_DATA:
                threading.Thread(target=reply, args=(agent.agent_id, received.message, frames.put)).start()


if __name__ == "__main__":
    main()
