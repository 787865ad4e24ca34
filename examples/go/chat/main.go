// Asks questions in one conversation, and prints the answers as they come. Somebody has to answer: `baaaht serve
// --assistant`, or ../../python/assistant.py.
//
//	go run ./chat -socket /tmp/baaaht-grpc.sock "hello there" "and good bye"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"time"

	gatewayv1 "example.com/baaaht/gen/proto/gateway/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	log.SetFlags(0)
	socket := flag.String("socket", "/tmp/baaaht-grpc.sock", "where baaaht serves")
	flag.Parse()
	if err := run(*socket, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(socket string, questions []string) error {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := gatewayv1.NewGatewayServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()

	created, err := client.CreateGatewaySession(ctx, &gatewayv1.CreateGatewaySessionRequest{
		Metadata: &gatewayv1.GatewaySessionMetadata{Name: "go chat", ClientType: "example"},
		Config: &gatewayv1.GatewaySessionConfig{
			EnableStreaming: true, // text while it is made
			StreamConfig:    &gatewayv1.StreamConfig{EnableDelta: true},
		},
	})
	if err != nil {
		return err
	}
	chat, err := client.StreamChat(ctx)
	if err != nil {
		return err
	}
	for _, question := range questions {
		if err := ask(chat, created.SessionId, question); err != nil {
			return err
		}
	}
	if err := chat.CloseSend(); err != nil {
		return err
	}
	_, err = client.CloseGatewaySession(ctx, &gatewayv1.CloseGatewaySessionRequest{
		SessionId: created.SessionId,
		Reason:    "the example is over",
	})
	return err
}

// ask sends one question and prints its answer up to the status that ends it.
func ask(chat gatewayv1.GatewayService_StreamChatClient, sessionID, question string) error {
	message := &gatewayv1.GatewayMessage{
		// With an id of its own a message can be sent again after a lost connection, and joins the answer that it has.
		Id:      fmt.Sprintf("go-%d", time.Now().UnixNano()),
		Role:    gatewayv1.GatewayMessageRole_GATEWAY_MESSAGE_ROLE_USER,
		Content: question,
	}
	request := &gatewayv1.StreamChatRequest{
		SessionId: sessionID,
		Payload:   &gatewayv1.StreamChatRequest_Message{Message: message},
	}
	// What is wrong with what was sent is told by what is received.
	if err := chat.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for {
		received, err := chat.Recv()
		if err != nil {
			return err
		}
		if chunk := received.GetChunk(); chunk != nil {
			fmt.Print(chunk.Text)
		}
		if status := received.GetStatus(); status != nil {
			fmt.Printf("\n%s %s\n", status.State, status.Message)
			return nil
		}
	}
}
