import { expect, test } from "bun:test";
import { parseJunit } from "../../scripts/junit-report.ts";

const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="4" failures="1" skipped="1">
  <testsuite name="test/a.test.ts" file="test/a.test.ts">
    <testcase name="open() &quot;a&quot; &amp; &lt;b&gt;" classname="" time="0.1" file="test/a.test.ts" line="2" assertions="1" />
    <testcase name="later" classname="" time="0" file="test/a.test.ts" line="4" assertions="0">
      <skipped message="TODO" />
    </testcase>
    <testsuite name="inner" file="test/a.test.ts">
      <testcase name="adds" classname="inner" time="0.1" file="test/a.test.ts" line="6" assertions="1">
        <failure type="Error" message="short">Error: 1 &lt; 2&#10;  at x</failure>
      </testcase>
    </testsuite>
  </testsuite>
  <testsuite name="test/b.test.ts" file="test/b.test.ts">
    <testcase name="(worker crashed)" classname="" time="0" file="test/b.test.ts" assertions="0">
      <failure type="Error" message="worker process crashed" />
    </testcase>
  </testsuite>
</testsuites>`;

test("parseJunit() reads every test with its group, outcome and the failure's words", () => {
  expect(parseJunit(REPORT)).toEqual([
    { file: "test/a.test.ts", name: 'open() "a" & <b>', outcome: "passed", detail: "" },
    { file: "test/a.test.ts", name: "later", outcome: "skipped", detail: "" },
    { file: "test/a.test.ts", name: "inner > adds", outcome: "failed", detail: "Error: 1 < 2\n  at x" },
    { file: "test/b.test.ts", name: "(worker crashed)", outcome: "failed", detail: "worker process crashed" },
  ]);
});

test("parseJunit() finds nothing in a report that was never written", () => {
  expect(parseJunit("")).toEqual([]);
});
