/** What a message of the form `Cannot <verb> <noun> "<value>": <state of the world>` says of the world. */
export function plainReason(error: Error): string {
  return error.message.replace(/^Cannot [^":]*(?:"[^"]*")?[^":]*: /, "");
}
