/** What was found that must not be. */
export class Violations {
  readonly found: string[] = [];
  /** Put before each: which round it is. */
  where = "";

  add(what: string): void {
    this.found.push(this.where === "" ? what : `${this.where}: ${what}`);
  }

  /** Adds `what` unless `holds`. */
  unless(holds: boolean, what: () => string): void {
    if (!holds) this.add(what());
  }
}
