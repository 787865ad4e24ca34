import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { eventEntry } from "../../src/cli/event-view.ts";
import { EventSchema, EventType } from "../../src/gen/proto/orchestrator/v1/orchestrator_pb.ts";

const session = "01a21e30-34bb-73ff-9b63-2381e362dee2";
const exec = "01a21e30-7943-77b5-87d4-e49c30663e36";
const event = create(EventSchema, {
  type: EventType.EXEC_FINISHED,
  metadata: { sessionId: session },
  data: { exec_id: exec, exit_code: "3" },
});

function line(width: number | undefined, colours = false): string {
  return eventEntry(event, { headers: true, colours, width }).line();
}

test("eventEntry() has whole ids but on a terminal that has no room for them", () => {
  const whole = `-  exec-finished       session=${session}  exec_id=${exec} exit_code=3`;
  expect(line(undefined)).toBe(whole);
  expect(line(200)).toBe(whole);
  expect(line(110)).toBe("-  exec-finished       session=01a21e30-34bb  exec_id=01a21e30-7943 exit_code=3");
});

test("eventEntry() keeps its colours where it is cut", () => {
  expect(line(60)).toBe("-  exec-finished       session=01a21e30-34bb  exec_id=01a21…");
  const coloured = line(60, true);
  expect(coloured).toStartWith("\u001b[2m-\u001b[");
  expect(coloured).toContain("\u001b[2mexec_id=01a21\u001b[");
  expect(Bun.stringWidth(coloured)).toBe(60);
});
