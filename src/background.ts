/** Where work goes that nobody awaits: it is tracked, its defects are reported, and it ends before the server does. */
export interface Background {
  /**
   * Starts `work`, which has to end soon after its signal aborts. What it throws is logged under `name`, unless its
   * signal has aborted: work that was told to stop may end as it likes.
   */
  start(name: string, work: (signal: AbortSignal) => Promise<void>): void;
}
