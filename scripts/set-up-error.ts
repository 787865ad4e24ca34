/** A set-up step that cannot go on for a reason a person can act on: printed as it stands, without a stack. */
export class SetUpError extends Error {
  override readonly name = "SetUpError";
}
