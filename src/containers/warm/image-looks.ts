interface Going {
  readonly now: Promise<string | undefined>;
  /** The look after it, if somebody has asked since it began. */
  next: Promise<string | undefined> | undefined;
}

/**
 * What images are now, as the engine has them. All who ask while it looks share the next look, which begins after they
 * have asked: what an image became before that, they see.
 */
export class ImageLooks {
  readonly #look: (image: string) => Promise<string | undefined>;
  readonly #going = new Map<string, Going>();

  /** @param look asks the engine for an image's digest, within a time of its own */
  constructor(look: (image: string) => Promise<string | undefined>) {
    this.#look = look;
  }

  /** `undefined` when the engine has no such image. Fails as the look does. */
  digest(image: string): Promise<string | undefined> {
    const going = this.#going.get(image);
    if (going === undefined) return this.#begin(image);
    const again = () => this.#begin(image);
    going.next ??= going.now.then(again, again);
    return going.next;
  }

  #begin(image: string): Promise<string | undefined> {
    const going: Going = { now: this.#look(image), next: undefined };
    this.#going.set(image, going);
    const over = () => {
      if (going.next === undefined) this.#going.delete(image);
    };
    void going.now.then(over, over);
    return going.now;
  }
}
