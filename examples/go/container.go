package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	orchestratorv1 "example.com/baaaht/gen/proto/orchestrator/v1"
)

// leaveAndJoin starts a command that outlives its call, loses the call, and joins the command where it was lost. The
// offset behind the last byte is all that it has to remember.
func leaveAndJoin(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, containerID string) error {
	call, lose := context.WithCancel(ctx)
	defer lose()
	started, err := client.ExecContainer(call)
	if err != nil {
		return err
	}
	if err := started.Send(&orchestratorv1.ExecContainerRequest{
		Payload: &orchestratorv1.ExecContainerRequest_Start{Start: &orchestratorv1.ExecStart{
			ContainerId:        containerID,
			Command:            []string{"sh", "-c", "echo one; until [ -e /tmp/news ]; do sleep 0.1; done; cat /tmp/news; exit 5"},
			DetachOnDisconnect: true,
		}},
	}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	execID, before, offset := "", "", int64(0)
	for before == "" {
		frame, err := started.Recv()
		if err != nil {
			return err
		}
		if frame.GetStarted() != nil {
			execID = frame.GetStarted().ExecId
		}
		before = string(frame.GetStdout())
		offset = frame.Offset + int64(len(before))
	}
	lose()

	if err := copyIn(ctx, client, containerID, "news", "two\n"); err != nil {
		return err
	}
	joined, err := client.AttachExec(ctx)
	if err != nil {
		return err
	}
	if err := joined.Send(&orchestratorv1.AttachExecRequest{
		Payload: &orchestratorv1.AttachExecRequest_Start{
			Start: &orchestratorv1.AttachStart{ExecId: execID, Offset: &offset},
		},
	}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for after := ""; ; {
		frame, err := joined.Recv()
		if err != nil {
			return err
		}
		after += string(frame.GetStdout())
		if end := frame.GetEnd(); end != nil {
			fmt.Printf("attach: %q, then from byte %d %q, ended with %d\n", before, offset, after, end.GetExited().GetCode())
			return nil
		}
	}
}

// copyIn makes a file in /tmp of a container: the frames are a tar archive, cut anywhere.
func copyIn(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, containerID, name, text string) error {
	stream, err := client.CopyToContainer(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&orchestratorv1.CopyToContainerRequest{
		Payload: &orchestratorv1.CopyToContainerRequest_Start{
			Start: &orchestratorv1.CopyToContainerStart{ContainerId: containerID, Path: "/tmp"},
		},
	}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var data bytes.Buffer // a larger archive would be sent while it is made
	archive := tar.NewWriter(&data)
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: time.Now()}); err != nil {
		return err
	}
	if _, err := archive.Write([]byte(text)); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	// At most 1 MiB a frame. io.EOF: the server has ended the stream, and CloseAndRecv says why.
	if err := stream.Send(&orchestratorv1.CopyToContainerRequest{
		Payload: &orchestratorv1.CopyToContainerRequest_Data{Data: data.Bytes()},
	}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = stream.CloseAndRecv()
	return err
}

// copyOut reads a file of a container. Nothing is written here, so that the archive's names can't do harm.
func copyOut(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, containerID, path string) error {
	stream, err := client.CopyFromContainer(ctx, &orchestratorv1.CopyFromContainerRequest{
		ContainerId: containerID,
		Path:        path,
	})
	if err != nil {
		return err
	}
	first, err := stream.Recv() // what it is
	if err != nil {
		return err
	}
	data, feed := io.Pipe()
	go func() {
		for {
			frame, err := stream.Recv()
			if err != nil {
				feed.CloseWithError(err) // io.EOF at the archive's end
				return
			}
			if _, err := feed.Write(frame.Data); err != nil {
				return
			}
		}
	}()
	defer data.Close()
	archive := tar.NewReader(data)
	if _, err := archive.Next(); err != nil {
		return err
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		return err
	}
	fmt.Printf("copy: %s of %d bytes, %q\n", first.Stat.Name, first.Stat.Size, text)
	return nil
}

// freeze pauses a container and lets it go on.
func freeze(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, containerID string) error {
	paused, err := client.PauseContainer(ctx, &orchestratorv1.PauseContainerRequest{ContainerId: containerID})
	if err != nil {
		return err
	}
	resumed, err := client.ResumeContainer(ctx, &orchestratorv1.ResumeContainerRequest{ContainerId: containerID})
	if err != nil {
		return err
	}
	fmt.Printf("pause: %s, %s\n", paused.State, resumed.State)
	return nil
}

// weigh takes the first of the readings that would come once a second.
func weigh(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, containerID string) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	readings, err := client.StreamContainerStats(ctx, &orchestratorv1.StreamContainerStatsRequest{
		ContainerId: containerID,
		IntervalNs:  1_000_000_000,
	})
	if err != nil {
		return err
	}
	reading, err := readings.Recv()
	if err != nil {
		return err
	}
	fmt.Printf("stats: %d processes, %d KiB of %d KiB\n", reading.Usage.PidsCount,
		reading.Usage.MemoryUsage>>10, reading.Usage.MemoryLimit>>10)
	return nil
}
