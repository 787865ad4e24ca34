import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EngineRecipe } from "./own-engine.ts";

/**
 * Podman's API with runc and without systemd: crun refuses machines that have both kinds of cgroups, and a test machine
 * may have no systemd. Events are kept in a file, since the journal would be the host's.
 */
export const PODMAN: EngineRecipe = {
  name: "Podman",
  needs: {
    podman: "podman",
    runc: "runc",
    iptables: "iptables",
    "/usr/lib/podman/netavark": "netavark",
    // How containers of a network find each other by name.
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    // The init of containers that ask for one.
    catatonit: "catatonit",
  },
  prepare: async ({ run, data }) => {
    const settings = join(run, "containers.conf");
    const storage = join(run, "storage.conf");
    writeFileSync(settings, `[engine]\nevents_logger = "file"\n`);
    writeFileSync(
      storage,
      `[storage]\ndriver = "overlay"\nrunroot = "${run}/run"\ngraphroot = "${data}/root"\n`,
    );
    const folders = [
      ...["--root", join(data, "root"), "--runroot", join(run, "run"), "--tmpdir", join(run, "tmp")],
      ...["--network-config-dir", join(data, "networks"), "--volumepath", join(data, "volumes")],
    ];
    const how = ["--runtime", "runc", "--cgroup-manager", "cgroupfs"];
    const listen = ["system", "service", "--time", "0", `unix://${join(run, "engine.sock")}`];
    return {
      command: ["podman", ...folders, ...how, ...listen],
      env: { CONTAINERS_CONF: settings, CONTAINERS_STORAGE_CONF: storage },
    };
  },
};
