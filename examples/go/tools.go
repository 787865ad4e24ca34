//go:build tools

package main

// The generators of gen/, here so that go.mod pins their versions.
import (
	_ "google.golang.org/grpc/cmd/protoc-gen-go-grpc"
	_ "google.golang.org/protobuf/cmd/protoc-gen-go"
)
