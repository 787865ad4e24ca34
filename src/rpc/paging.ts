import { canonicalJson } from "../canonical-json.ts";
import { invalid } from "../failure.ts";
import type { PagePlace } from "../store/table.ts";

/** What a List request says of its page. */
export interface PageAsked {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** How a List request wants its page, checked. `filter` ties a token to the filter that it was given for. */
export function pageOf(
  asked: PageAsked,
  options: { readonly maxPageSize: number; readonly filter: unknown },
): { readonly limit: number; readonly after: PagePlace | undefined } {
  if (asked.pageSize < 0) {
    const description = `is ${asked.pageSize}; 0 (the most) to ${options.maxPageSize} are allowed`;
    throw invalid("list", [{ field: "page_size", description }]);
  }
  const limit = asked.pageSize === 0 ? options.maxPageSize : Math.min(asked.pageSize, options.maxPageSize);
  return {
    limit,
    after: asked.pageToken === "" ? undefined : placeOf(asked.pageToken, fingerprint(options.filter)),
  };
}

/** The token for the page after `place`; empty when there is none. */
export function tokenOf(place: PagePlace | undefined, filter: unknown): string {
  if (place === undefined) return "";
  return Buffer.from(JSON.stringify([place.value, place.key, fingerprint(filter)])).toString("base64url");
}

function placeOf(token: string, filter: string): PagePlace {
  const wrong = (description: string) => invalid("list", [{ field: "page_token", description }]);
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(token, "base64url").toString());
  } catch {
    throw wrong("is not one that this server has given");
  }
  const [value, key, of]: readonly unknown[] = Array.isArray(parts) ? parts : [];
  const isValue = value === null || typeof value === "string" || typeof value === "number";
  if (!isValue || typeof key !== "string") throw wrong("is not one that this server has given");
  if (of !== filter) throw wrong("was given for another filter; keep the filter the same over all pages");
  return { value, key };
}

function fingerprint(filter: unknown): string {
  return Bun.hash.wyhash(canonicalJson(filter)).toString(36);
}
