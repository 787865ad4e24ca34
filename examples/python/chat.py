"""Asks questions in one conversation, and prints the answers as they come. Somebody has to answer: `baaaht serve
--assistant`, or assistant.py.

    python chat.py --socket /tmp/baaaht-grpc.sock "hello there" "and good bye"
"""

import argparse
import collections.abc
import pathlib
import sys
import uuid

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).parent / "gen"))
from proto.gateway.v1 import gateway_pb2 as api  # noqa: E402
from proto.gateway.v1 import gateway_pb2_grpc as services  # noqa: E402


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--socket", default="/tmp/baaaht-grpc.sock")
    arguments.add_argument("question", nargs="+")
    given = arguments.parse_args()
    with grpc.insecure_channel(f"unix:{given.socket}") as channel:
        client = services.GatewayServiceStub(channel)
        created = client.CreateGatewaySession(
            api.CreateGatewaySessionRequest(
                metadata=api.GatewaySessionMetadata(name="python chat", client_type="example"),
                # Text while it is made, each chunk with what is new.
                config=api.GatewaySessionConfig(enable_streaming=True, stream_config=api.StreamConfig(enable_delta=True)),
            )
        )
        failed = 0
        for received in client.StreamChat(questions(created.session_id, given.question)):
            kind = received.WhichOneof("payload")
            if kind == "chunk":
                print(received.chunk.text, end="", flush=True)
            elif kind == "status":
                # One with an end state a question.
                state = api.StreamState.Name(received.status.state)
                print(f"\n{state} {received.status.message}".rstrip())
                failed += received.status.state != api.STREAM_STATE_COMPLETE
        client.CloseGatewaySession(
            api.CloseGatewaySessionRequest(session_id=created.session_id, reason="the example is over")
        )
    return 1 if failed else 0


def questions(session_id: str, texts: list[str]) -> collections.abc.Iterator[api.StreamChatRequest]:
    """All at once: they are answered one after the other. The stream ends when the last one is."""
    for text in texts:
        # With an id of its own a message can be sent again after a lost connection, and joins the answer that it has.
        message = api.GatewayMessage(id=str(uuid.uuid4()), role=api.GATEWAY_MESSAGE_ROLE_USER, content=text)
        yield api.StreamChatRequest(session_id=session_id, message=message)


if __name__ == "__main__":
    sys.exit(main())
