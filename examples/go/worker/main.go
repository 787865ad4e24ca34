// A worker of one's own: it answers tasks of the type `custom` with their input in capitals, as it comes.
//
//	go generate .. && go run . -socket /tmp/baaaht-grpc.sock
//	baaaht task create --type custom --data words.txt
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	agentv1 "example.com/baaaht/gen/proto/agent/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	socket := flag.String("socket", "/tmp/baaaht-grpc.sock", "where baaaht serves")
	flag.Parse()
	if err := run(*socket); err != nil {
		log.Fatal(err)
	}
}

func run(socket string) error {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := agentv1.NewAgentServiceClient(conn)
	me, err := client.Register(context.Background(), &agentv1.RegisterRequest{
		Name:         "shouter in Go",
		Type:         agentv1.AgentType_AGENT_TYPE_WORKER,
		Capabilities: &agentv1.AgentCapabilities{SupportedTasks: []string{"custom"}, MaxConcurrentTasks: 4, SupportsStreaming: true},
	})
	if err != nil {
		return err
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-baaaht-agent-token", me.RegistrationToken)

	// An open line is a sign of life, and what tasks come by. It says nothing but who it is.
	line, err := client.StreamAgent(ctx)
	if err != nil {
		return err
	}
	if err := line.Send(&agentv1.StreamAgentRequest{AgentId: me.AgentId, Payload: &agentv1.StreamAgentRequest_Heartbeat{Heartbeat: &emptypb.Empty{}}}); err != nil {
		return err
	}
	if _, err := line.Header(); err != nil { // it is in place
		return err
	}
	fmt.Println("ready as", me.AgentId)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() { <-stop; line.CloseSend() }() // and the server ends it
	for {
		said, err := line.Recv()
		if err != nil {
			break
		}
		if message := said.GetMessage(); message.GetType() == agentv1.MessageType_MESSAGE_TYPE_TASK_REQUEST {
			attempt := message.GetMetadata().GetHeaders()["attempt"]
			go shout(metadata.AppendToOutgoingContext(ctx, "x-baaaht-attempt", attempt), client, message.GetTaskMessage().GetTaskId())
		}
	}
	_, err = client.Unregister(ctx, &agentv1.UnregisterRequest{AgentId: me.AgentId, Reason: "it was told to stop"})
	fmt.Println("signed off")
	return err
}

func shout(ctx context.Context, client agentv1.AgentServiceClient, id string) {
	stream, err := client.StreamTask(ctx)
	if err != nil {
		return
	}
	// "I am its worker." What Send can't deliver is told by Recv.
	stream.Send(&agentv1.StreamTaskRequest{TaskId: id, Payload: &agentv1.StreamTaskRequest_Heartbeat{Heartbeat: &emptypb.Empty{}}})
	got, err := client.GetTaskStatus(ctx, &agentv1.GetTaskStatusRequest{TaskId: id})
	if err != nil {
		return
	}
	written := 0
	write := func(data []byte) {
		written += len(data)
		output := &agentv1.TaskOutput{Text: string(bytes.ToUpper(data)), StreamType: "stdout"}
		stream.Send(&agentv1.StreamTaskRequest{Payload: &agentv1.StreamTaskRequest_Output{Output: output}})
	}
	complete := func() {
		result := &agentv1.TaskResult{Metadata: map[string]string{"bytes": strconv.Itoa(written)}}
		stream.Send(&agentv1.StreamTaskRequest{Payload: &agentv1.StreamTaskRequest_Complete{Complete: &agentv1.TaskComplete{Result: result}}})
		stream.CloseSend()
	}
	if data := got.GetTask().GetConfig().GetInputData(); len(data) > 0 { // a task has its input in itself, or its callers send it
		write(data)
		complete()
	}
	for {
		said, err := stream.Recv()
		if err != nil { // io.EOF: it is over
			fmt.Println(id, "over")
			return
		}
		if input := said.GetOutput(); input.GetStreamType() == "stdin" {
			write(input.GetData())
			if input.GetEnd() {
				complete()
			}
		}
		if said.GetStatus().GetState() == agentv1.TaskState_TASK_STATE_CANCELLED {
			stream.Send(&agentv1.StreamTaskRequest{Payload: &agentv1.StreamTaskRequest_Status{Status: said.GetStatus()}})
			stream.CloseSend()
		}
	}
}
