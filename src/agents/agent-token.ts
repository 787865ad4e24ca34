import { timingSafeEqual } from "node:crypto";
import { Failure } from "../failure.ts";
import type { Agent } from "./agent.ts";

/** A new registration token and what is kept of it. */
export function newToken(): { readonly token: string; readonly hash: string } {
  const token = crypto
    .getRandomValues(new Uint8Array(32))
    .toBase64({ alphabet: "base64url", omitPadding: true });
  return { token, hash: hashOf(token).toString("hex") };
}

/**
 * Checks a token that was presented. Over the Unix socket none has to be: agents of before have none to present.
 *
 * Failures: UNAUTHENTICATED when it is not the agent's.
 */
export function checkToken(agent: Agent, token: string | undefined): void {
  if (token === undefined || isTokenOf(token, agent)) return;
  throw new Failure(
    "unauthenticated",
    `Cannot act as agent "${agent.id}": the registration token is not the one that it was given`,
    { reason: "AGENT_TOKEN_WRONG", metadata: { agent_id: agent.id } },
  );
}

/** Whether a token is the one that this agent was given. */
export function isTokenOf(token: string, agent: Agent): boolean {
  return timingSafeEqual(hashOf(token), Buffer.from(agent.tokenHash, "hex"));
}

function hashOf(token: string): Buffer {
  return new Bun.CryptoHasher("sha256").update(token).digest();
}
