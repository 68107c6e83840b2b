// Section 3: records, as bytes in and bytes out.

import { randomBytes } from "node:crypto";
import { Code, Refused } from "./errors.js";
import {
  aegisOpen, aegisSeal, blake2b256, secretstreamOpen, secretstreamSeal, secretstreamStart, u16, u8, utf8,
} from "./primitives.js";

export const Type = Object.freeze({ DATA: 0, ALERT: 1, CLOSE: 2, KEY_UPDATE: 3, ACCEPT: 4 });
export const MOST_RECORD = 16384;

const UPDATE_AFTER_BYTES = 2 ** 30;
const UPDATE_AFTER_RECORDS = 2 ** 32;
const TAGS = { [Type.DATA]: 0, [Type.ALERT]: 3, [Type.CLOSE]: 3, [Type.KEY_UPDATE]: 2, [Type.ACCEPT]: 0 };
const utf8Strictly = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Suite 1. The header stands once before the records of a direction; the tag must fit the type. */
class SecretstreamCipher {
  static overhead = 22;
  static headerSize = 24;
  #state;

  constructor(key, header) {
    this.#state = secretstreamStart(header, key);
  }

  seal(plain, type) {
    return secretstreamSeal(this.#state, plain, TAGS[type]);
  }

  open(ciphertext) {
    const opened = secretstreamOpen(this.#state, ciphertext);
    return opened && { plain: opened.text, tag: opened.tag };
  }

  update() {} // the tag of KEY_UPDATE has done it
}

/** Suite 2. */
class AegisCipher {
  static overhead = 37;
  static headerSize = 0;
  #key;
  #number = 0;

  constructor(key) {
    this.#key = key;
  }

  seal(plain) {
    return aegisSeal(this.#key, this.#number++, plain);
  }

  open(ciphertext) {
    const plain = aegisOpen(this.#key, this.#number++, ciphertext);
    return plain && { plain };
  }

  update() {
    this.#key = blake2b256(utf8("securestream/1 rekey"), { key: this.#key });
    this.#number = 0;
  }
}

const CIPHERS = { 1: SecretstreamCipher, 2: AegisCipher };

/** The records of one direction, being written. `header` is for test vectors only. */
export class RecordWriter {
  #cipher;
  #pending; // the suite's header, until the first record
  #bytes = 0;
  #records = 0;

  constructor(suite, key, { header = randomBytes(CIPHERS[suite].headerSize) } = {}) {
    this.overhead = CIPHERS[suite].overhead;
    this.mostContent = MOST_RECORD - this.overhead;
    this.#cipher = new CIPHERS[suite](key, header);
    this.#pending = header;
  }

  /** One record of at least `length` bytes on the wire, and a KEY_UPDATE before it where it is due. */
  write(type, content, length = 0) {
    const due = this.#bytes >= UPDATE_AFTER_BYTES || this.#records >= UPDATE_AFTER_RECORDS - 1;
    const update = due && type !== Type.KEY_UPDATE ? this.#seal(Type.KEY_UPDATE, Buffer.alloc(0), 0) : Buffer.alloc(0);
    return Buffer.concat([update, this.#seal(type, content, length)]);
  }

  #seal(type, content, length) {
    const whole = Math.max(length, this.overhead + content.length);
    if (whole > MOST_RECORD) throw new RangeError("more than a record holds");
    const plain = Buffer.alloc(whole - this.overhead + 3);
    plain.writeUInt16LE(content.length + 3, 0);
    plain[2] = type;
    content.copy(plain, 3);
    const record = Buffer.concat([this.#pending, u16(whole), this.#cipher.seal(plain, type)]);
    this.#pending = Buffer.alloc(0);
    this.#count(type, plain.length);
    return record;
  }

  #count(type, size) {
    this.#bytes += size;
    this.#records += 1;
    if (type !== Type.KEY_UPDATE) return;
    this.#cipher.update();
    this.#bytes = this.#records = 0;
  }
}

/** The records of one direction, being read. `fromServer`: the first one has to be ACCEPT or ALERT, later none is ACCEPT. */
export class RecordReader {
  #cipher;
  #start;
  #first = true;
  #fromServer;

  constructor(suite, key, fromServer) {
    const Cipher = CIPHERS[suite];
    this.headerSize = Cipher.headerSize;
    this.overhead = Cipher.overhead;
    this.#start = (header) => new Cipher(key, header);
    this.#fromServer = fromServer;
  }

  /** Takes the suite's header, of `headerSize` bytes. */
  start(header) {
    this.#cipher = this.#start(header);
  }

  /** How many bytes follow the length of a record. */
  restOfRecord(start) {
    const length = start.readUInt16LE(0);
    if (length < this.overhead || length > MOST_RECORD) throw new Refused(Code.BAD_RECORD, `a record of ${length} bytes`);
    return length - 2;
  }

  /** `{ type, content }`, and `code` and `text` for an alert. */
  open(ciphertext) {
    const opened = this.#cipher.open(ciphertext);
    if (opened === null) throw new Refused(Code.BAD_RECORD, "a record that is not genuine");
    const size = opened.plain.readUInt16LE(0);
    if (size < 3 || size > opened.plain.length) throw new Refused(Code.BAD_RECORD, `a size of ${size} in a record`);
    const record = { type: opened.plain[2], content: opened.plain.subarray(3, size) };
    this.#checkType(record.type, opened.tag);
    Object.assign(record, checkContent(record));
    if (record.type === Type.KEY_UPDATE) this.#cipher.update();
    return record;
  }

  #checkType(type, tag) {
    const refuse = (message) => { throw new Refused(Code.PROTOCOL_ERROR, message); };
    if (!(type in TAGS)) refuse(`a record of type ${type}`);
    if (tag !== undefined && tag !== TAGS[type]) throw new Refused(Code.BAD_RECORD, "tag and type disagree");
    const verdict = this.#first && this.#fromServer;
    if (verdict && type !== Type.ACCEPT && type !== Type.ALERT) refuse("the server's first record is no verdict");
    if (!verdict && type === Type.ACCEPT) refuse("ACCEPT out of place");
    this.#first = false;
  }
}

function checkContent({ type, content }) {
  const refuse = (message) => { throw new Refused(Code.PROTOCOL_ERROR, message); };
  if ((type === Type.CLOSE || type === Type.KEY_UPDATE) && content.length > 0) refuse("content where there is none");
  if (type !== Type.ALERT) return {};
  if (content.length < 2) refuse("an alert without a code");
  const code = content.readUInt16LE(0);
  if (code === 0) refuse("an alert of code 0");
  try {
    return { code, text: utf8Strictly.decode(content.subarray(2)) };
  } catch {
    return refuse("an alert with bad UTF-8");
  }
}

export const alertContent = (code, text) => Buffer.concat([u16(code), utf8(text)]);
