/** One test of a report. */
export interface TestResult {
  readonly file: string;
  /** With the names of the groups that it is in. */
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** The failure's own words, stack included; empty when it passed. */
  readonly detail: string;
}

/**
 * Reads the tests out of a JUnit report as `bun test --reporter=junit` writes it. The counts in the report's heads are
 * not used: errors between tests are missing from them.
 */
export function parseJunit(xml: string): TestResult[] {
  return [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(
    ([, head = "", body = ""]) => {
      const group = attribute(head, "classname");
      const name = attribute(head, "name");
      return {
        file: attribute(head, "file"),
        name: group === "" ? name : `${group} > ${name}`,
        outcome: /<(failure|error)\b/.test(body)
          ? "failed"
          : body.includes("<skipped")
            ? "skipped"
            : "passed",
        detail: failureText(body),
      };
    },
  );
}

function failureText(body: string): string {
  const [, head = "", text = ""] =
    /<(?:failure|error) ([^>]*?)(?:\/>|>([\s\S]*?)<\/(?:failure|error)>)/.exec(body) ?? [];
  return text === "" ? attribute(head, "message") : unescapeXml(text).trim();
}

function attribute(head: string, name: string): string {
  return unescapeXml(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(head)?.[1] ?? "");
}

const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(#x?)?(\w+);/g, (whole, numeric: string | undefined, name: string) => {
    if (numeric === undefined) return NAMED[name] ?? whole;
    return String.fromCodePoint(Number.parseInt(name, numeric === "#x" ? 16 : 10));
  });
}
