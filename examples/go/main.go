// What a program that runs agents does with baaaht: a session, a container, a command in it with input and output, one
// that outlives its call, files in and out, a pause, what it uses, the log of all of it over a connection that breaks, and
// errors that say what is wrong.
//
//	go generate                                    # makes gen/ from ../../proto; after `bun install` in ../..
//	go run . -socket /tmp/baaaht-grpc.sock -image python:3.11
package main

//go:generate ../../node_modules/.bin/buf generate ../.. --template buf.gen.yaml --path ../../proto

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"time"

	commonv1 "example.com/baaaht/gen/proto/common/v1"
	orchestratorv1 "example.com/baaaht/gen/proto/orchestrator/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func main() {
	log.SetFlags(0)
	socket := flag.String("socket", "/tmp/baaaht-grpc.sock", "where baaaht serves")
	image := flag.String("image", "python:3.11", "an image with a shell")
	flag.Parse()
	if err := run(*socket, *image); err != nil {
		log.Fatal(err)
	}
}

func run(socket, image string) error {
	// One connection for all calls that answer and end; watch has its own.
	conn, err := dial(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := orchestratorv1.NewOrchestratorServiceClient(conn)

	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: "orchestrator"})
	if err != nil {
		return err
	}
	fmt.Println("health:", health.Status)

	created, err := client.CreateSession(ctx, &orchestratorv1.CreateSessionRequest{
		Metadata: &orchestratorv1.SessionMetadata{
			Name:    "my-session",
			OwnerId: "user-123",
			Labels:  map[string]string{"example": "go"},
		},
		Config: &orchestratorv1.SessionConfig{
			MaxContainers: 10,
			IdleTimeoutNs: 3600_000_000_000, // 1 hour
		},
		// Whoever gets no answer sends the same again, and has one session.
		IdempotencyKey: fmt.Sprintf("example-%d", time.Now().UnixNano()),
	})
	if err != nil {
		return err
	}
	fmt.Println("session:", created.Session.State)

	// It begins at the log's start, so it has the session's whole story however late it is there.
	watched := make(chan watchResult, 1)
	go func() { watched <- watch(ctx, socket, created.SessionId) }()

	container, err := client.CreateContainer(ctx, &orchestratorv1.CreateContainerRequest{
		SessionId: created.SessionId,
		Config: &orchestratorv1.ContainerConfig{
			Image:   image,
			Command: []string{"sleep"},
			Args:    []string{"300"},
			Env:     map[string]string{"GREETING": "hello"},
			ResourceLimits: &commonv1.ResourceLimits{
				NanoCpu:     500_000_000,       // 0.5 CPU
				MemoryBytes: 256 * 1024 * 1024, // 256 MiB
			},
		},
	})
	if err != nil {
		return err
	}
	fmt.Println("container:", container.Container.State)

	output, end, err := exec(ctx, client, &orchestratorv1.ExecStart{
		ContainerId: container.ContainerId,
		Command:     []string{"sh", "-c", `echo "$GREETING"; tr a-z A-Z; exit 3`},
		Stdin:       true,
	}, "from go\n")
	if err != nil {
		return err
	}
	fmt.Printf("exec: %q, ended with %d\n", output, end.GetExited().GetCode())

	id := container.ContainerId
	if err := leaveAndJoin(ctx, client, id); err != nil {
		return err
	}
	if err := copyOut(ctx, client, id, "/tmp/news"); err != nil {
		return err
	}
	if err := freeze(ctx, client, id); err != nil {
		return err
	}
	if err := weigh(ctx, client, id); err != nil {
		return err
	}

	_, err = client.SendMessage(ctx, &orchestratorv1.SendMessageRequest{
		SessionId: created.SessionId,
		Message: &orchestratorv1.Message{
			Role:    orchestratorv1.MessageRole_MESSAGE_ROLE_USER,
			Content: "Hello, orchestrator!",
		},
	})
	if err != nil {
		return err
	}
	if err := read(ctx, client, created.SessionId, container.ContainerId); err != nil {
		return err
	}
	stopped, err := client.StopContainer(ctx, &orchestratorv1.StopContainerRequest{
		ContainerId: container.ContainerId,
		TimeoutNs:   1_000_000_000, // between SIGTERM and SIGKILL; sleep ignores the first
	})
	if err != nil {
		return err
	}
	fmt.Println("container:", stopped.State)

	explain(client.GetSession(ctx, &orchestratorv1.GetSessionRequest{
		SessionId: "00000000-0000-7000-8000-000000000000",
	}))
	explain(client.CreateSession(ctx, &orchestratorv1.CreateSessionRequest{
		Config: &orchestratorv1.SessionConfig{MaxContainers: -1},
	}))

	closed, err := client.CloseSession(ctx, &orchestratorv1.CloseSessionRequest{
		SessionId: created.SessionId,
		Reason:    "the example is over",
	})
	if err != nil {
		return err
	}
	fmt.Println("session:", closed.State)

	seen := <-watched
	if seen.err != nil {
		return seen.err
	}
	fmt.Printf("watch: %d events over %d connections\n", len(seen.events), seen.connections)
	return sameAsLog(ctx, client, created.SessionId, seen.events)
}

// read asks for what is there.
func read(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, sessionID, containerID string) error {
	sessions, err := client.ListSessions(ctx, &orchestratorv1.ListSessionsRequest{
		Filter: &orchestratorv1.SessionFilter{
			State:   orchestratorv1.SessionState_SESSION_STATE_ACTIVE,
			OwnerId: "user-123",
			Labels:  map[string]string{"example": "go"},
		},
	})
	if err != nil {
		return err
	}
	session, err := client.GetSession(ctx, &orchestratorv1.GetSessionRequest{SessionId: sessionID})
	if err != nil {
		return err
	}
	container, err := client.GetContainer(ctx, &orchestratorv1.GetContainerRequest{ContainerId: containerID})
	if err != nil {
		return err
	}
	fmt.Printf("read: session %d of %d, %q, %s\n", len(sessions.Sessions), sessions.TotalCount,
		session.Session.Context.Messages[0].Content, container.Container.State)
	return nil
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// exec runs a command, gives it input, and returns what it wrote to stdout and how it ended.
func exec(
	ctx context.Context,
	client orchestratorv1.OrchestratorServiceClient,
	start *orchestratorv1.ExecStart,
	input string,
) (string, *orchestratorv1.ExecEnd, error) {
	stream, err := client.ExecContainer(ctx)
	if err != nil {
		return "", nil, err
	}
	frames := []*orchestratorv1.ExecContainerRequest{
		{Payload: &orchestratorv1.ExecContainerRequest_Start{Start: start}},
		{Payload: &orchestratorv1.ExecContainerRequest_Stdin{Stdin: []byte(input)}},
	}
	for _, frame := range frames {
		// io.EOF: the server has ended the stream, and Recv says why.
		if err := stream.Send(frame); err != nil && !errors.Is(err, io.EOF) {
			return "", nil, err
		}
	}
	if err := stream.CloseSend(); err != nil { // ends stdin, not the command
		return "", nil, err
	}
	var stdout bytes.Buffer
	var end *orchestratorv1.ExecEnd
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stdout.String(), end, nil
		}
		if err != nil {
			return "", nil, err
		}
		switch payload := frame.Payload.(type) {
		case *orchestratorv1.ExecContainerResponse_Stdout:
			stdout.Write(payload.Stdout)
		case *orchestratorv1.ExecContainerResponse_End: // exactly one, after all output
			end = payload.End
		}
	}
}

// explain prints what an error says to people, and what it says to programs.
func explain(_ any, err error) {
	failed, ok := status.FromError(err)
	if !ok || failed.Code() == codes.OK {
		log.Fatalf("expected an error of gRPC, got %v", err)
	}
	fmt.Printf("error: %s: %s\n", failed.Code(), failed.Message())
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Printf("  field %s %s\n", violation.Field, violation.Description)
			}
		case *errdetails.ErrorInfo:
			fmt.Printf("  reason %s of %s\n", detail.Reason, detail.Domain)
		}
	}
}
