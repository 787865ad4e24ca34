/** Bytes of UTF-8 that a token stands for at least, in about all languages and models; for English it is nearer to 4. */
const BYTES_PER_TOKEN = 3;

/** What a message takes beside its words. */
const TOKENS_PER_MESSAGE = 8;

/** About how many tokens a message takes, rather too many than too few: only a model's own tokenizer knows. */
export function estimatedTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE;
}
