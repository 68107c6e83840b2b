// Sections 3 and 4: a stream over a socket, with its end, its alerts and its padding.

import { PeerAlert, Refused, Truncated } from "./errors.js";
import { lingering, MOST_DISCARDED } from "./input.js";
import { alertContent, MOST_RECORD, RecordReader, RecordWriter, Type } from "./records.js";

const MOST_TEXT = 16345; // bytes
const VERDICT_LENGTH = 512;
const NONE = Buffer.alloc(0);

/** Padding policies: the length of a DATA record, given the least that its content takes. */
export const padding = Object.freeze({
  none: (least) => least,
  full: () => MOST_RECORD,
  multiplesOf: (step) => (least) => Math.min(Math.ceil(least / step) * step, MOST_RECORD),
});

/**
 * One stream. `read` gives bytes, and null at the peer's CLOSE; it throws `PeerAlert`, `Truncated`, or `Refused` where the
 * peer broke the rules, and from then on always the same. One caller may read while another writes.
 */
export class SecureStream {
  #socket;
  #input;
  #reader;
  #writer;
  #pad;
  #started = false; // the suite's header has been read
  #readEnd = null; // null, "close", or the error that every read gives
  #writeEnd = null; // null, "close", "alert"

  constructor(socket, input, { handshake, isServer, pad = padding.none }) {
    const { clientToServer, serverToClient } = handshake.keys;
    this.#socket = socket;
    this.#input = input;
    this.#reader = new RecordReader(handshake.suite, isServer ? clientToServer : serverToClient, !isServer);
    this.#writer = new RecordWriter(handshake.suite, isServer ? serverToClient : clientToServer);
    this.#pad = pad;
    this.suite = handshake.suite;
    this.channelBinding = handshake.channelBinding;
    this.postQuantum = handshake.hybrid;
    this.peerKey = isServer ? handshake.clientKey : handshake.serverKey;
    this.updatesRead = 0;
  }

  /** The next bytes, never none; null once the peer has ended its direction. */
  async read() {
    for (;;) {
      const record = await this.#record();
      if (record === null) return null;
      if (record.type === Type.DATA && record.content.length > 0) return record.content;
    }
  }

  async write(bytes) {
    for (let at = 0; at < bytes.length; at += this.#writer.mostContent) {
      const content = bytes.subarray(at, at + this.#writer.mostContent);
      await this.#send(Type.DATA, content, this.#pad(content.length + this.#writer.overhead));
    }
  }

  /** An empty record: keep-alive and cover. */
  async writeNothing(length = 0) {
    await this.#send(Type.DATA, NONE, length);
  }

  async updateKey() {
    await this.#send(Type.KEY_UPDATE, NONE);
  }

  /** CLOSE: the end of this direction; the other goes on. */
  async end() {
    await this.#send(Type.CLOSE, NONE);
    this.#writeEnd = "close";
  }

  /** ALERT: the end of both directions, with the reason. */
  async alert(code, text = "", length = 0) {
    const content = alertContent(code, text);
    if (content.length - 2 > MOST_TEXT) throw new RangeError("an alert's text has at most 16,345 bytes");
    const sent = this.#send(Type.ALERT, content, length);
    this.#writeEnd = "alert";
    this.#readEnd ??= new Error("this side has sent an alert");
    await sent;
  }

  /** The server's verdict: the client may stay. */
  async accept(answer = NONE) {
    await this.#send(Type.ACCEPT, answer, this.#verdictLength(answer.length));
  }

  /** The server's verdict: it may not. */
  async refuse(code, text) {
    await this.alert(code, text, this.#verdictLength(2 + Buffer.byteLength(text)));
  }

  /** Waits for the server's verdict, on the client's side; gives the server's answer. */
  async verdict() {
    const { content } = await this.#record();
    return content;
  }

  /** The orderly way out. Ends this direction, then lets the peer's end come, so that it can read what was sent. */
  async close() {
    if (this.#writeEnd === null) await this.end().catch(() => {}); // where the peer has gone, nothing is left to say to it
    if (this.#readEnd instanceof Refused) this.#socket.end();
    await lingering(this.#socket, this.#discard());
  }

  /** Leaves at once, without CLOSE: the peer sees a truncated stream. */
  cut() {
    this.#socket.destroy();
  }

  #verdictLength(size) {
    return size + this.#writer.overhead <= VERDICT_LENGTH ? VERDICT_LENGTH : MOST_RECORD;
  }

  async #discard() {
    const ended = this.#readEnd === "close" || this.#readEnd instanceof PeerAlert || this.#readEnd instanceof Truncated;
    if (ended) return;
    if (this.#readEnd !== null) return this.#input.discard();
    for (let size = 0; size < MOST_DISCARDED; ) {
      const record = await this.#record();
      if (record === null) return;
      size += record.content.length + this.#writer.overhead;
    }
  }

  async #send(type, content, length = 0) {
    if (this.#writeEnd !== null) throw new Error(`nothing can be sent after ${this.#writeEnd}`);
    if (this.#readEnd instanceof PeerAlert) throw this.#readEnd;
    const bytes = this.#writer.write(type, content, length);
    await new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** The next record that isn't KEY_UPDATE; null at CLOSE. What goes wrong goes wrong for good. */
  async #record() {
    if (this.#readEnd === "close") return null;
    if (this.#readEnd !== null) throw this.#readEnd;
    try {
      const record = await this.#nextRecord();
      if (record.type === Type.ALERT) throw new PeerAlert(record.code, record.text, true);
      if (record.type === Type.CLOSE) this.#readEnd = "close";
      return record.type === Type.CLOSE ? null : record;
    } catch (error) {
      await this.#fail(error);
    }
  }

  async #fail(error) {
    if (error instanceof Refused && this.#writeEnd === null) {
      await this.alert(error.code, error.message).catch(() => {});
    }
    this.#readEnd = error;
    throw error;
  }

  async #nextRecord() {
    for (;;) {
      if (!this.#started) await this.#start();
      const rest = this.#reader.restOfRecord(await this.#input.exactly(2));
      const record = this.#reader.open(await this.#input.exactly(rest));
      if (record.type !== Type.KEY_UPDATE) return record;
      this.updatesRead += 1;
    }
  }

  /** Section 2.5: in place of the stream's start an alert frame and the end may come; then the suite's header. */
  async #start() {
    const head = await this.#input.exactly(5);
    const mayBeAlert = head.readUInt16LE(0) === 5 && head[2] === 4;
    if (mayBeAlert && !(await this.#input.more())) {
      const code = head.readUInt16LE(3);
      throw code === 0 ? new Truncated() : new PeerAlert(code, "", false);
    }
    this.#input.unread(head);
    this.#reader.start(await this.#input.exactly(this.#reader.headerSize));
    this.#started = true;
  }
}
