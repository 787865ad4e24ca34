import { join } from "node:path";
import type { NamedSetting } from "../src/daemon/setting-names.ts";
import { namedSettings } from "../src/daemon/setting-names.ts";

const PAGE = join(import.meta.dir, "../docs/configuration.md");
const BEGIN = "<!-- settings: written by scripts/configuration-table.ts -->";
const END = "<!-- end of settings -->";

/** The page with its table made again from the list of settings. */
export function withSettings(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin)
    throw new Error(`Cannot write the settings into "${PAGE}": its marks are gone`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${sections()}\n\n${page.slice(end)}`;
}

function sections(): string {
  const groups = Map.groupBy(namedSettings, ({ path }) => (path.length === 1 ? "" : (path[0] ?? "")));
  return [...groups]
    .map(([group, settings]) => {
      const title = group === "" ? "### At the top of the file" : `### [${group}]`;
      const head = "| setting | default | allowed | also given by | what it does |\n|---|---|---|---|---|";
      return `${title}\n\n${head}\n${settings.map(row).join("\n")}`;
    })
    .join("\n\n");
}

function row({ name, path, environment, setting }: NamedSetting): string {
  // The environment's own name follows from the setting's; only what does not is worth its place here.
  const flag = setting.flag === undefined ? [] : [`\`--${setting.flag}\``];
  const ways = [...flag, ...environment.slice(1).map((variable) => `\`${variable}\``)].join(", ");
  const short = path.length === 1 ? name : name.slice(name.indexOf(".") + 1);
  const again = setting.reloadable ? " SIGHUP puts a new value into force." : "";
  const allowed = setting.allowed
    .replace(/^must be /, "")
    .replace(/(, such as|, without) .*?(?=, (from|at least)|$)/, "");
  const cells = [`\`${short}\``, fallback(setting), allowed, ways, `${setting.doc}${again}`];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function fallback(setting: NamedSetting["setting"]): string {
  if (setting.defaultDoc !== undefined) return setting.defaultDoc;
  const value = setting.fallback({ uid: 0, env: {} });
  return value === undefined || value === "" ? "none" : `\`${setting.write(value)}\``;
}

if (import.meta.main) await Bun.write(PAGE, withSettings(await Bun.file(PAGE).text()));
