import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Treatment } from "../runtime/docker/engine-proxy.ts";
import type { Fault } from "./fault.ts";
import type { Scene } from "./scene.ts";

/** What happens between the server and an engine that lives. */
export const connectionFaults: readonly Fault[] = [
  {
    name: "engine answers 500",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, load, { patience }) => {
      const treatment: Treatment = { kind: "answer", status: 500, body: { message: "the disk is on fire" } };
      scene.proxy.rules = { onRequest: ({ route }) => (route === "/_ping" ? { kind: "pass" } : treatment) };
      scene.proxy.cut((request) => request?.path === "/events");
      await load.calls.reaches(load.calls.settled + 10);
      if (patience === "long") await Bun.sleep(10_000);
      scene.proxy.rules = {};
    },
  },
  {
    name: "answers are torn",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, load, { patience, random }) => {
      scene.proxy.rules = { onRequest: () => ({ kind: random.next() < 0.3 ? "torn" : "pass" }) };
      await load.calls.reaches(load.calls.settled + (patience === "long" ? 100 : 15));
      scene.proxy.rules = {};
    },
  },
  {
    name: "another answers 404",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, load, { patience }) => {
      const treatment: Treatment = { kind: "answer", status: 404, body: { message: "page not found" } };
      scene.proxy.rules = { onRequest: () => treatment };
      scene.proxy.cut(() => true);
      await scene.shows(load.runner, "unknown");
      await load.calls.reaches(load.calls.settled + 10);
      if (patience === "long") await Bun.sleep(10_000);
      scene.proxy.rules = {};
    },
  },
  {
    name: "engine answers half and hangs",
    via: "proxy",
    runs: "long",
    containers: "survive",
    happen: async (scene, load, { patience }) => {
      scene.proxy.rules = {
        onRequest: ({ route }) => (route === "/_ping" ? { kind: "pass" } : { kind: "half" }),
      };
      await load.calls.reaches(load.calls.settled + (patience === "long" ? 12 : 3));
      scene.proxy.rules = {};
    },
  },
  {
    name: "engine hangs half-way, pings too",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, load) => {
      scene.proxy.rules = { onRequest: () => ({ kind: "half" }) };
      await scene.shows(load.runner, "unknown");
      scene.proxy.rules = {};
      await scene.event(EventType.RUNTIME_RECOVERED);
    },
  },
  {
    name: "event stream drops",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, _load, { patience }) => {
      for (let times = patience === "long" ? 20 : 3; times > 0; times -= 1) {
        const from = scene.record.events.length;
        dropEvents(scene);
        await scene.event(EventType.RUNTIME_RECOVERED, undefined, from);
      }
    },
  },
  {
    name: "every connection drops",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, _load, { patience }) => {
      for (let times = patience === "long" ? 20 : 3; times > 0; times -= 1) {
        const from = scene.record.events.length;
        scene.proxy.cut(() => true);
        await scene.event(EventType.RUNTIME_RECOVERED, undefined, from);
      }
    },
  },
  {
    name: "connections are refused",
    via: "proxy",
    runs: "always",
    containers: "survive",
    happen: async (scene, load) => {
      await scene.proxy.refuse();
      await scene.shows(load.runner, "unknown");
      await scene.proxy.up();
      await scene.event(EventType.RUNTIME_RECOVERED);
    },
  },
];

function dropEvents({ proxy }: Scene): void {
  proxy.cut((request) => request?.path === "/events");
}
