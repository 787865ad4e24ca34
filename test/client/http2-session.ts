/** The part of a server's HTTP/2 session that tests use. */
interface Session {
  destroy(): void;
  ping(answered: () => void): boolean;
}

/** Closes the connection of a server's call without a word, as a killed server does it. */
export function cutConnection(call: object): void {
  sessionOf(call).destroy();
}

/** Waits until the client has taken what was written to it: it answers a ping behind that. */
export async function delivered(call: object): Promise<void> {
  const session = sessionOf(call);
  for (let n = 0; n < 2; n += 1) await new Promise<void>((resolve) => session.ping(resolve));
}

/** Tells the connections of calls apart. */
export function connectionOf(call: object): unknown {
  return sessionOf(call);
}

function sessionOf(call: object): Session {
  // grpc-js keeps the HTTP/2 stream of a call there; it has no public name.
  return (call as { call: { stream: { session: Session } } }).call.stream.session;
}
