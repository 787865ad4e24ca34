/**
 * Takes out of what a command has shown on a terminal what a terminal would answer as if somebody typed it: where the
 * cursor is, what kind it is, which colours it has. Shown once more, nobody waits for these answers, and the next one who
 * reads stdin, such as a shell, would take them for words.
 */
export interface Replay {
  /** The bytes without it. What may be its beginning is held back until the next ones. */
  readonly take: (bytes: Uint8Array) => Uint8Array;
  /** What is held back, when nothing more is shown once more. */
  readonly rest: () => Uint8Array;
}

/** A replay that has shown nothing yet. */
export function replay(): Replay {
  let held = "";
  return {
    take: (bytes) => {
      const text = (held + Buffer.from(bytes).toString("latin1")).replace(ANSWERED, "");
      const begun = BEGUN.exec(text.slice(-maxHeld));
      held = begun === null ? "" : begun[0];
      return Buffer.from(text.slice(0, text.length - held.length), "latin1");
    },
    rest: () => {
      const bytes = Buffer.from(held, "latin1");
      held = "";
      return bytes;
    },
  };
}

/** Bytes. Questions are shorter; what is longer is a picture, a title or a clipboard. */
const maxHeld = 256;

/** Bytes as characters of Latin-1. xterm's "Control Sequences" lists what is answered, kitty's protocol one more. */
const ANSWERED = new RegExp(
  [
    String.raw`\x05`, // ENQ
    String.raw`\x1bZ`, // DECID
    String.raw`\x1b\[[?>=]?[\d;]*c`, // device attributes
    String.raw`\x1b\[\??[\d;]*n`, // device status, the cursor's place
    String.raw`\x1b\[[\d;]*x`, // DECREQTPARM
    String.raw`\x1b\[\??[\d;]*\$p`, // DECRQM
    String.raw`\x1b\[>\d*q`, // XTVERSION
    String.raw`\x1b\[\?[\d;]*[uS]`, // keyboard's protocol, graphics
    String.raw`\x1b\[(?:1[13-689]|2[01])(?:;\d*)*t`, // the window
    String.raw`\x1b\][^\x07\x1b]*\?(?:\x07|\x1b\\)`, // colours, fonts, the clipboard
    String.raw`\x1bP[+$]q[^\x1b]*\x1b\\`, // DECRQSS, XTGETTCAP
  ].join("|"),
  "g",
);

/** The beginning of any control sequence, at the end. */
const BEGUN = new RegExp(
  String.raw`\x1b(?:${[
    String.raw`\[[<-?]?[\d;:]*[ -/]*`,
    String.raw`\][^\x07\x1b]*\x1b?`,
    String.raw`P[^\x1b]*\x1b?`,
  ].join("|")})?$`,
);
