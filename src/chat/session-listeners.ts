import type { SessionId } from "../sessions/session.ts";

/** Who wants to hear of what happens in which session. */
export class SessionListeners<News> {
  readonly #listeners = new Map<SessionId, Set<(news: News) => void>>();

  /** Returns the way to stop. */
  listen(id: SessionId, listener: (news: News) => void): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  tell(id: SessionId, news: News): void {
    for (const listener of this.#listeners.get(id) ?? []) listener(news);
  }
}
