import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  HealthCheckResponseSchema,
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import { addService } from "../../src/rpc/adapter.ts";
import { Health } from "../../src/rpc/health.ts";
import { callUnary, errorOf, openServerStream, testServer } from "./test-server.ts";

const { check, list, watch } = HealthService.method;

async function healthServer() {
  const health = new Health(["", "a", "b"]);
  const server = await testServer({ setUp: (rpc) => addService(rpc, HealthService, health.handlers) });
  const client = server.connect();
  return {
    health,
    client,
    async statusOf(service: string) {
      const { answer } = await callUnary(client, check, { service });
      return "status" in answer ? answer.status : undefined;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** The statuses that a watch sends, one at a time. */
function statuses(call: grpc.ClientReadableStream<Buffer>) {
  const messages = call[Symbol.asyncIterator]();
  return async () => {
    const { value } = await messages.next();
    return fromBinary(HealthCheckResponseSchema, value).status;
  };
}

describe("Health", () => {
  test("check() is NOT_SERVING until set() says otherwise", async () => {
    await using server = await healthServer();
    expect(await server.statusOf("a")).toBe(ServingStatus.NOT_SERVING);
    server.health.set("a", "serving");
    expect(await server.statusOf("a")).toBe(ServingStatus.SERVING);
    expect(await server.statusOf("b")).toBe(ServingStatus.NOT_SERVING);
    expect(await server.statusOf("")).toBe(ServingStatus.NOT_SERVING);
  });

  test("check() is NOT_FOUND for a name that is not known", async () => {
    await using server = await healthServer();
    const error = await errorOf(callUnary(server.client, check, { service: "c" }));
    expect(error.code).toBe(grpc.status.NOT_FOUND);
    expect(error.details).toContain('"c"');
  });

  test("list() has all names", async () => {
    await using server = await healthServer();
    server.health.setAll("serving");
    server.health.set("b", "not_serving");
    const { answer } = await callUnary(server.client, list, {});
    expect(answer).toMatchObject({
      statuses: {
        "": { status: ServingStatus.SERVING },
        a: { status: ServingStatus.SERVING },
        b: { status: ServingStatus.NOT_SERVING },
      },
    });
  });

  test("watch() sends the state, then each change of it, also those that come at once", async () => {
    await using server = await healthServer();
    const next = statuses(openServerStream(server.client, watch, { service: "a" }));
    expect(await next()).toBe(ServingStatus.NOT_SERVING);
    server.health.set("b", "serving");
    server.health.set("a", "serving");
    server.health.set("a", "serving");
    server.health.set("a", "not_serving");
    server.health.set("a", "serving");
    expect(await next()).toBe(ServingStatus.SERVING);
    expect(await next()).toBe(ServingStatus.NOT_SERVING);
    expect(await next()).toBe(ServingStatus.SERVING);
  });

  test("watch() of a name that is not known says so and stays open", async () => {
    await using server = await healthServer();
    const call = openServerStream(server.client, watch, { service: "c" });
    let ended = false;
    call.on("status", () => {
      ended = true;
    });
    expect(await statuses(call)()).toBe(ServingStatus.SERVICE_UNKNOWN);
    for (let turn = 0; turn < 20; turn++) await server.statusOf("a");
    expect(ended).toBe(false);
  });

  test("watch() is told of the stop before its stream ends", async () => {
    const server = await healthServer();
    server.health.setAll("serving");
    const call = openServerStream(server.client, watch, { service: "" });
    const next = statuses(call);
    expect(await next()).toBe(ServingStatus.SERVING);
    const status = new Promise<grpc.StatusObject>((resolve) => call.on("status", resolve));
    server.health.setAll("not_serving");
    const stopped = server[Symbol.asyncDispose]();
    expect(await next()).toBe(ServingStatus.NOT_SERVING);
    call.resume();
    expect((await status).code).toBe(grpc.status.UNAVAILABLE);
    await stopped;
  });

  test("watch() forgets a client that left", async () => {
    await using server = await healthServer();
    const call = openServerStream(server.client, watch, { service: "a" });
    await once(call, "data");
    call.cancel();
    while ((await callUnary(server.client, check, {})) && server.health.watching > 0)
      await new Promise(setImmediate);
    expect(server.health.watching).toBe(0);
  });

  test("set() of a name that is not known is a defect", () => {
    expect(() => new Health([""]).set("typo", "serving")).toThrow('"typo"');
  });
});
