import { readFileSync } from "node:fs";
import { Failure } from "../failure.ts";
import type { AssistantConfig } from "./assistant-config.ts";
import { echoProvider } from "./echo-provider.ts";
import type { Provider } from "./provider.ts";
import { httpUrl, shownUrl } from "./shown-url.ts";

/**
 * The provider that the configuration asks for.
 *
 * Failures: INVALID_ARGUMENT when what it needs is missing or can't be read.
 */
export async function chooseProvider(config: AssistantConfig): Promise<Provider> {
  const { provider, baseUrl, model, modelRetries: retries, maxAnswerTokens } = config;
  if (provider === "echo" || (provider === "auto" && model === "")) return echoProvider;
  if (model === "") throw unfit('assistant.model is missing: name a model, or take the provider "echo"');
  if (httpUrl(baseUrl) === undefined)
    throw unfit(`assistant.base-url is "${shownUrl(baseUrl)}", which is no http:// or https:// URL`);
  const { modelProvider } = await import("./model-provider.ts");
  return modelProvider({ baseUrl, model, key: keyOf(config), retries, maxAnswerTokens });
}

function keyOf({ key, keyFile }: AssistantConfig): string {
  if (keyFile === "") return key;
  try {
    return readFileSync(keyFile, "utf8").trim();
  } catch (error) {
    throw unfit(`the key can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function unfit(problem: string): Failure {
  return new Failure("invalid_argument", `Cannot be an assistant: ${problem}`, { reason: "CONFIG_INVALID" });
}
