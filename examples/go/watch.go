package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	orchestratorv1 "example.com/baaaht/gen/proto/orchestrator/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// As if the network broke: every connection of the watch is cut after so many events.
const eventsPerConnection = 2

var errCut = errors.New("connection cut")

type watchResult struct {
	events      []*orchestratorv1.Event
	connections int
	err         error
}

// watch follows a session's events until the session is closed, over as many connections as it takes. The cursor of
// the last event is all that it has to remember.
func watch(ctx context.Context, socket, sessionID string) (result watchResult) {
	cursor := ""
	for {
		result.connections++
		err := follow(ctx, socket, sessionID, cursor, func(event *orchestratorv1.Event) {
			result.events = append(result.events, event)
			cursor = event.Cursor
		})
		switch {
		case err == nil:
			return result
		case errors.Is(err, errCut):
			continue
		case status.Code(err) == codes.Unavailable:
			time.Sleep(100 * time.Millisecond) // until the server is back
		default:
			result.err = err
			return result
		}
	}
}

// follow has a connection of its own: HTTP/2 shares one window among the streams of a connection, and a reader that is
// slow must not hold up other calls.
func follow(ctx context.Context, socket, sessionID, cursor string, take func(*orchestratorv1.Event)) error {
	conn, err := dial(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := orchestratorv1.NewOrchestratorServiceClient(conn).SubscribeEvents(ctx,
		&orchestratorv1.SubscribeEventsRequest{
			Filter:      &orchestratorv1.EventFilter{SessionId: sessionID},
			FromStart:   cursor == "",
			ResumeAfter: cursor,
		})
	if err != nil {
		return err
	}
	for count := 0; count < eventsPerConnection; count++ {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		take(event)
		if event.Type == orchestratorv1.EventType_EVENT_TYPE_SESSION_CLOSED {
			return nil
		}
	}
	return errCut
}

// sameAsLog compares what a watch has seen with what the log has: the same events, each once, in the same order.
func sameAsLog(
	ctx context.Context,
	client orchestratorv1.OrchestratorServiceClient,
	sessionID string,
	seen []*orchestratorv1.Event,
) error {
	// An end_time that is over makes the stream end where the log does.
	stream, err := client.SubscribeEvents(ctx, &orchestratorv1.SubscribeEventsRequest{
		Filter:    &orchestratorv1.EventFilter{SessionId: sessionID, EndTime: timestamppb.Now()},
		FromStart: true,
	})
	if err != nil {
		return err
	}
	for index := 0; ; index++ {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) && index == len(seen) {
			fmt.Println("watch: nothing lost, nothing twice")
			return nil
		}
		if err != nil {
			return fmt.Errorf("the log has %d events, the watch saw %d: %w", index, len(seen), err)
		}
		if index >= len(seen) || event.Id != seen[index].Id {
			return fmt.Errorf("the watch missed or repeated event %d, %s", index, event.Type)
		}
		fmt.Printf("  %s by %s %v\n", event.Type, event.Source, event.Data)
	}
}
