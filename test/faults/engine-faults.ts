import { EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";
import type { Fault } from "./fault.ts";
import { ownOf } from "./fault-engine.ts";

/** What happens to the engine itself. They need an engine that nobody else uses. */
export const engineFaults: readonly Fault[] = [
  {
    name: "engine killed",
    via: "engine",
    runs: "always",
    containers: "die",
    happen: async (scene, load) => {
      await ownOf(scene.engine).kill();
      await scene.shows(load.runner, "unknown");
      await ownOf(scene.engine).startAgain();
      await scene.event(EventType.RUNTIME_RECOVERED);
      await scene.shows(load.runner, "exited");
    },
  },
  {
    name: "engine restarted",
    via: "engine",
    runs: "always",
    containers: "die",
    happen: async (scene, load) => {
      await ownOf(scene.engine).stop();
      await scene.shows(load.runner, "unknown");
      await ownOf(scene.engine).startAgain();
      await scene.event(EventType.RUNTIME_RECOVERED);
      await scene.shows(load.runner, "exited");
    },
  },
  {
    name: "engine stands still",
    via: "engine",
    runs: "always",
    containers: "survive",
    happen: async (scene, load, { patience }) => {
      ownOf(scene.engine).freeze();
      try {
        await scene.shows(load.runner, "unknown");
        if (patience === "long") await Bun.sleep(20_000 - 5_000); // about as long as it took to be noticed comes first
      } finally {
        ownOf(scene.engine).thaw();
      }
      await scene.event(EventType.RUNTIME_RECOVERED);
    },
  },
  {
    name: "engine's socket is gone",
    via: "engine",
    runs: "always",
    containers: "survive",
    happen: async (scene, _load, { patience }) => {
      ownOf(scene.engine).hideSocket();
      try {
        // Connections that are open go on; whatever has to be asked anew can't be.
        await Bun.sleep(patience === "long" ? 10_000 : 2_000);
      } finally {
        ownOf(scene.engine).showSocket();
      }
    },
  },
];
