import { choice, duration, integer, text } from "./setting.ts";
import { blankProblem, tableProblem } from "./setting-checks.ts";

/** What can be configured of the worker beside the server. `agent run` has flags of the same names. */
export const workerSettings = {
  beside: choice("Whether a worker runs beside the server, and is started again when it ends.", {
    of: ["off", "on"],
    default: "off",
    flag: "worker",
    isSwitch: true,
  }),
  maxTasks: integer("Tasks that it does at one time.", { default: 4, min: 1, max: 1_000 }),
  languages: text(
    "What languages are run with, with commas between them: NAME=IMAGE, or NAME=IMAGE COMMAND; others are as docs/workers.md has them.",
    { default: "", check: tableProblem },
  ),
  tools: text("The same for tools.", { default: "", check: tableProblem }),
  image: text("The image for commands that are no language's; empty: busybox:1.", {
    default: "",
    check: blankProblem,
  }),
  pull: choice("When it has images fetched.", { of: ["missing", "never", "always"], default: "missing" }),
  allowNetwork: choice("Whether tasks without a session may have a network if they ask for one.", {
    of: ["off", "on"],
    default: "off",
  }),
  drainTimeoutMs: duration(
    "How long its tasks may go on when the server stops; half of the shutdown time-out if that is less.",
    { default: "10s", min: "0", max: "1h" },
  ),
};
