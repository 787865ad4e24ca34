import { choice, duration, integer, path, size, text } from "./setting.ts";

/** What can be configured of our own assistant. All but the first and the key are flags of `assistant run` too. */
export const assistantSettings = {
  beside: choice("Whether an assistant runs beside the server, and is started again when it ends.", {
    of: ["off", "on"],
    default: "off",
    flag: "assistant",
    isSwitch: true,
  }),
  provider: choice(
    "What makes the answers: a language model, or echo, which gives the words of a question back and needs nothing. Auto is a model where one is named, else echo.",
    { of: ["auto", "model", "echo"], default: "auto" },
  ),
  baseUrl: text("Where the model's server is; it has to speak the OpenAI protocol.", {
    default: "http://127.0.0.1:11434/v1",
  }),
  model: text("The model's name, as its server has it.", { default: "" }),
  key: text("The key for the model's server, where it wants one.", { default: "", secret: true }),
  keyFile: path("A file with the key in it, instead of assistant.key.", { default: "" }),
  modelRetries: integer("How often a request to the model is repeated that could not be taken for a while.", {
    default: 2,
    min: 0,
    max: 100,
  }),
  instructions: text("What frames each conversation, in place of words of our own.", { default: "" }),
  maxContextTokens: integer(
    "Tokens of a conversation that the model is given, by a careful estimate; of more, the oldest are left out.",
    { default: 16_384, min: 1_024, max: 100_000_000 },
  ),
  maxAnswerTokens: integer("Tokens that the model may say in one step.", {
    default: 4_096,
    min: 1,
    max: 10_000_000,
  }),
  maxAnswerBytes: size("The longest answer.", { default: "1MiB", min: "1KiB", max: "16MiB" }),
  maxSteps: integer("How often the model is asked in one turn; before the last time it may use tools.", {
    default: 16,
    min: 1,
    max: 1_000,
  }),
  turnTimeoutMs: duration("How long one answer may take.", { default: "4m", min: "100ms", max: "1d" }),
  maxTurns: integer("Answers at one time.", { default: 1_000, min: 1, max: 100_000 }),
  image: text("The image of the container that tools run in; it needs a shell, and python3 for Python.", {
    default: "python:3.12-slim",
  }),
  toolTimeoutMs: duration("How long one call of a tool may run; then it is killed.", {
    default: "1m",
    min: "100ms",
    max: "1d",
  }),
  maxToolOutputBytes: size("What the model is given of a tool's output.", {
    default: "16KiB",
    min: "256B",
    max: "16MiB",
  }),
  drainTimeoutMs: duration("How long an assistant that stops waits for answers that are under way.", {
    default: "10s",
    min: "0",
    max: "1h",
  }),
};
