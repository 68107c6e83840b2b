// What comes from a socket, so many bytes at a time; nothing is read before it is asked for.

import { Truncated } from "./errors.js";

const CLOSE_TIMEOUT = 1000; // milliseconds
export const MOST_DISCARDED = 2 ** 20; // bytes

export class Input {
  #chunks;
  #held = Buffer.alloc(0);

  constructor(socket) {
    this.#chunks = socket.iterator({ destroyOnReturn: false }); // else its end would close our direction, too
  }

  /** True while bytes are there or come; false at the transport's end. */
  async more() {
    while (this.#held.length === 0) {
      const { value, done } = await this.#chunks.next().catch((error) => {
        throw new Truncated(error);
      });
      if (done) return false;
      this.#held = value;
    }
    return true;
  }

  /** Exactly `size` bytes; `Truncated` where the transport ends before. */
  async exactly(size) {
    const parts = [];
    for (let wanted = size; wanted > 0; wanted -= parts.at(-1).length) {
      if (!(await this.more())) throw new Truncated();
      parts.push(this.#held.subarray(0, wanted));
      this.#held = this.#held.subarray(wanted);
    }
    return Buffer.concat(parts);
  }

  /** Puts back what has been read and is not meant for this reader. */
  unread(bytes) {
    this.#held = Buffer.concat([bytes, this.#held]);
  }

  /** Throws away what comes, at most so many bytes, until the transport's end. */
  async discard() {
    for (let size = 0; size < MOST_DISCARDED && (await this.more()); this.#held = Buffer.alloc(0)) size += this.#held.length;
  }
}

/** Lets the peer read what was sent before the socket closes: waits for `discarding` as long as section 4 says. */
export async function lingering(socket, discarding) {
  await within(CLOSE_TIMEOUT, discarding, () => new Error("the peer doesn't end")).catch(() => {});
  socket.end();
  socket.destroySoon();
}

/** Waits for `work` so many milliseconds; then throws what `late` gives. The work is left to fail with its socket. */
export async function within(milliseconds, work, late) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
