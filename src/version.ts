/** Put in by build.ts in place of these names; when run from source they do not exist. */
declare const BAAAHT_VERSION: string | undefined;
declare const BAAAHT_COMMIT: string | undefined;
declare const BAAAHT_DATE: string | undefined;

/** The release, such as `1.2.0`; `0.0.0-dev` when run from source. */
export const version: string = typeof BAAAHT_VERSION === "string" ? BAAAHT_VERSION : "0.0.0-dev";

/** The full commit that the executable was built from, with `-dirty` when files had changed since; else `unknown`. */
export const commit: string = typeof BAAAHT_COMMIT === "string" ? BAAAHT_COMMIT : "unknown";

/** When that commit was made (ISO 8601, UTC), so that two builds of one commit agree; else `unknown`. */
export const date: string = typeof BAAAHT_DATE === "string" ? BAAAHT_DATE : "unknown";
