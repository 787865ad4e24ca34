/** What an assistant is and may; a part of the configuration. */
export interface AssistantConfig {
  /** What makes the answers; `auto`: a model if one is named, else `echo`. */
  readonly provider: "auto" | "model" | "echo";
  readonly baseUrl: string;
  readonly model: string;
  readonly key: string;
  /** A file that holds the key; empty: none. */
  readonly keyFile: string;
  readonly modelRetries: number;
  /** What frames each conversation; empty: words of our own. */
  readonly instructions: string;
  /** Of a conversation. */
  readonly maxContextTokens: number;
  /** Of one step of an answer. */
  readonly maxAnswerTokens: number;
  /** Of an answer, bytes of UTF-8. */
  readonly maxAnswerBytes: number;
  /** Of a turn: how often the model is asked. */
  readonly maxSteps: number;
  readonly turnTimeoutMs: number;
  /** Turns at one time. */
  readonly maxTurns: number;
  /** What the sandbox is made of. */
  readonly image: string;
  readonly toolTimeoutMs: number;
  readonly maxToolOutputBytes: number;
  readonly drainTimeoutMs: number;
}
