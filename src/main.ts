import { commit, date, version } from "./version.ts";

process.stdout.write(`baaaht ${version} (commit ${commit}, ${date})\n`);
