// Section 2: the three messages of the handshake, as bytes in and bytes out.

import { randomBytes } from "node:crypto";
import { Code, Refused } from "./errors.js";
import { NoiseState } from "./noise.js";
import {
  blake2b256, chachaPolyOpen, chachaPolySeal, isGoodEncapsulationKey, isGoodPublicKey, kemDecapsulate, kemEncapsulate,
  kemKeyPair, keyPair, pskOf, u16, u8, utf8, x25519,
} from "./primitives.js";

export const Kind = Object.freeze({ HELLO: 1, CHALLENGE: 2, RESPONSE: 3, ALERT: 4 });
export const SUITES = Object.freeze([1, 2]);

/** What a side may get at a moment: kinds of frames, and from how many bytes to how many each has. */
export const Expected = Object.freeze({
  HELLO: { [Kind.HELLO]: [[90, 360], [1274, 1400]] },
  CHALLENGE: { [Kind.CHALLENGE]: [[100, 32868]], [Kind.ALERT]: [[5, 5]] },
  HYBRID_CHALLENGE: { [Kind.CHALLENGE]: [[1204, 33972]], [Kind.ALERT]: [[5, 5]] },
  RESPONSE: { [Kind.RESPONSE]: [[67, 32835]] },
});
const PSK0 = 1; // the bits of mode
const HFS = 2;
const FALLBACK = 86; // no suite
const MOST_PAYLOAD = 32768;
const NONE = Buffer.alloc(0);

/** The bytes of a frame that are still to come, judged by its first three. */
export function restOfFrame(start, expected) {
  const length = start.readUInt16LE(0);
  const kind = start[2];
  const fits = expected[kind]?.some(([least, most]) => least <= length && length <= most);
  if (!fits) throw new Refused(Code.PROTOCOL_ERROR, `a frame of kind ${kind} with ${length} bytes`);
  return { kind, size: length - 3 };
}

export const frame = (kind, body) => Buffer.concat([u16(body.length + 3), u8(kind), body]);

export const alertFrame = (code) => frame(Kind.ALERT, u16(code));

/** The common suite with the smallest sum of both ranks, on a tie the smaller number; undefined where there is none. */
export function chooseSuite(mine, theirs) {
  const rank = (suite) => mine.indexOf(suite) + theirs.indexOf(suite);
  return mine.filter((suite) => theirs.includes(suite)).sort((a, b) => rank(a) - rank(b) || a - b)[0];
}

function routeKey(ephemeral, router, shared) {
  return blake2b256(Buffer.concat([utf8("securestream/1 route"), ephemeral, router]), { key: shared });
}

function payloadOf(credentials, statement) {
  const payload = credentials ? credentials(statement) : NONE;
  if (payload.length > MOST_PAYLOAD) throw new RangeError("credentials have at most 32,768 bytes");
  return payload;
}

const clientStatement = (h2, key) => Buffer.concat([utf8("securestream/1 client credentials\0"), h2, key]);

const serverStatement = (h1, ephemeral, key, suite) =>
  Buffer.concat([utf8("securestream/1 server credentials\0"), h1, ephemeral, key, u8(suite)]);

/** A slip must not end in the classical handshake. */
function checkChoice(postQuantum, ...choices) {
  if (choices.includes(postQuantum)) return;
  throw new RangeError(`postQuantum is one of ${choices.join(", ")}, not ${postQuantum}`);
}

/** Cuts bytes into parts of these sizes, and what is left. */
function cut(bytes, ...sizes) {
  let at = 0;
  const parts = sizes.map((size) => bytes.subarray(at, (at += size)));
  return [...parts, bytes.subarray(at)];
}

/**
 * The client's side. `postQuantum` is "prefer", "require", "off", or "fallback": a second, classical hello.
 * `ephemeral`, `kemEphemeral` and `blindRoute` are for test vectors only.
 */
export class ClientHandshake {
  #noise;
  #offer;

  constructor({
    key = keyPair(), serverKey = null, middleboxKey = null, suites = SUITES, secret = null, credentials = null,
    postQuantum = "prefer", ephemeral = keyPair(), kemEphemeral = null, blindRoute = randomBytes(48),
  }) {
    checkChoice(postQuantum, "prefer", "require", "off", "fallback");
    this.hybrid = postQuantum === "prefer" || postQuantum === "require";
    const e1 = this.hybrid ? kemEphemeral ?? kemKeyPair() : null;
    const offered = postQuantum === "fallback" ? [...suites, FALLBACK] : suites;
    this.#offer = { key, serverKey, middleboxKey, suites, offered, secret, credentials, ephemeral, e1, blindRoute };
  }

  /** What frames may answer hello. */
  get expected() {
    return this.hybrid ? Expected.HYBRID_CHALLENGE : Expected.CHALLENGE;
  }

  hello() {
    const { offered, secret, ephemeral, e1 } = this.#offer;
    const mode = (secret ? PSK0 : 0) | (e1 ? HFS : 0);
    const header = Buffer.concat([
      utf8("SSv1"), u8(mode), u8(offered.length), Buffer.from(offered), this.#route(),
    ]);
    this.#noise = new NoiseState(mode, header);
    if (secret) this.#noise.mixKeyAndHash(pskOf(secret));
    this.#noise.mixSessionKey(ephemeral.publicKey);
    const kem = e1 ? this.#noise.encrypt(e1.publicKey) : NONE;
    const noise1 = Buffer.concat([ephemeral.publicKey, kem, this.#noise.encrypt(NONE)]);
    this.h1 = this.#noise.h;
    return frame(Kind.HELLO, Buffer.concat([header, noise1]));
  }

  #route() {
    const { serverKey, middleboxKey, ephemeral, blindRoute } = this.#offer;
    if (serverKey === null) return blindRoute;
    const router = middleboxKey ?? serverKey;
    const key = routeKey(ephemeral.publicKey, router, x25519(ephemeral.privateKey, router));
    return chachaPolySeal(key, 0, null, serverKey);
  }

  /** Reads the challenge's body; afterwards judge `serverKey`, and only then call `response`. */
  readChallenge(body) {
    const { ephemeral, e1, suites } = this.#offer;
    const [theirs, ekem1, s, rest] = cut(body, 32, e1 ? 1104 : 0, 48);
    refuseUnless(isGoodPublicKey(theirs), "the server's session key is refused");
    this.#noise.mixSessionKey(theirs);
    this.#noise.mixKey(x25519(ephemeral.privateKey, theirs));
    if (e1) this.#readCiphertext(ekem1);
    this.serverKey = this.#noise.decrypt(s);
    refuseUnless(this.serverKey && isGoodPublicKey(this.serverKey), "the challenge is not genuine");
    this.#noise.mixKey(x25519(ephemeral.privateKey, this.serverKey));
    const payload = this.#noise.decrypt(rest);
    refuseUnless(payload !== null, "the challenge is not genuine");
    this.suite = payload[0];
    refuseUnless(suites.includes(this.suite), "the server chose a suite that was not offered");
    this.serverPayload = payload.subarray(1);
    this.serverStatement = serverStatement(this.h1, theirs, this.serverKey, this.suite);
    this.h2 = this.#noise.h;
    this.#offer.theirs = theirs;
  }

  #readCiphertext(ekem1) {
    const ciphertext = this.#noise.decrypt(ekem1);
    refuseUnless(ciphertext !== null, "the challenge is not genuine");
    this.#noise.mixKey(kemDecapsulate(this.#offer.e1.secretKey, ciphertext));
  }

  /** The last frame; afterwards `keys` and `channelBinding` are there. */
  response() {
    const { key, credentials, theirs } = this.#offer;
    const payload = payloadOf(credentials, clientStatement(this.h2, key.publicKey));
    const s = this.#noise.encrypt(key.publicKey);
    this.#noise.mixKey(x25519(key.privateKey, theirs));
    const noise3 = Buffer.concat([s, this.#noise.encrypt(payload)]);
    this.channelBinding = this.#noise.h;
    this.keys = this.#noise.split();
    return frame(Kind.RESPONSE, noise3);
  }
}

/**
 * The server's side; what it throws is `Refused` with the alert's code. `postQuantum` is "prefer", "require" or "off".
 * `ephemeral` and `kemMessage` are for test vectors only.
 */
export class ServerHandshake {
  #noise;
  #own;
  #theirs;
  #e1 = null;

  constructor({
    key, suites = SUITES, secrets = [], gate = secrets.length ? "required" : "off", requireRoute = false,
    credentials = null, postQuantum = "prefer", ephemeral = keyPair(), kemMessage = undefined,
  }) {
    checkChoice(postQuantum, "prefer", "require", "off");
    this.#own = { key, suites, secrets, gate, requireRoute, credentials, postQuantum, ephemeral, kemMessage };
  }

  /** Judges hello's body in the order of section 2.3. */
  readHello(body) {
    const { mode, suites, route, header, noise1 } = splitHello(body, this.#own.postQuantum === "off" ? PSK0 : PSK0 | HFS);
    this.hybrid = (mode & HFS) !== 0;
    this.#checkPostQuantum(suites);
    this.#theirs = noise1.subarray(0, 32);
    this.#passGate(mode, header, noise1.subarray(32));
    this.suite = chooseSuite(this.#own.suites, suites);
    refuseUnless(this.suite !== undefined, "no common suite", Code.NO_COMMON_SUITE);
    this.#checkRoute(route);
    this.h1 = this.#noise.h;
  }

  #checkPostQuantum(suites) {
    const { postQuantum } = this.#own;
    if (this.hybrid || postQuantum === "off") return;
    refuseUnless(!suites.includes(FALLBACK), "nobody here has refused it", Code.INAPPROPRIATE_FALLBACK);
    refuseUnless(postQuantum !== "require", "the handshake has to be hybrid", Code.UNSUPPORTED_VERSION);
  }

  #passGate(mode, header, rest) {
    const { gate, secrets } = this.#own;
    const withSecret = (mode & PSK0) !== 0;
    const wrongMode = withSecret ? gate === "off" : gate === "required";
    refuseUnless(!wrongMode, "with a secret where none is, or without", Code.BAD_SHARED_SECRET);
    const start = new NoiseState(mode, header);
    const tries = withSecret ? secrets.map((secret) => [start.copy(), pskOf(secret)]) : [[start, null]];
    this.#noise = tries.find(([noise, psk]) => this.#opens(noise, psk, rest))?.[0];
    refuseUnless(this.#noise !== undefined, "another secret", Code.BAD_SHARED_SECRET);
  }

  /** What stands behind e. A key that is none is refused as soon as it is known that it came from a holder of the secret. */
  #opens(noise, psk, rest) {
    if (psk) noise.mixKeyAndHash(psk);
    noise.mixSessionKey(this.#theirs);
    if (!this.hybrid) return noise.decrypt(rest) !== null;
    const [e1, tag] = cut(rest, psk ? 1200 : 1184);
    this.#e1 = noise.decrypt(e1);
    refuseUnless(this.#e1 === null || isGoodEncapsulationKey(this.#e1), "the client's encapsulation key is none");
    return this.#e1 !== null && noise.decrypt(tag) !== null;
  }

  #checkRoute(route) {
    const { key, requireRoute } = this.#own;
    const wanted = chachaPolyOpen(
      routeKey(this.#theirs, key.publicKey, x25519(key.privateKey, this.#theirs)), 0, null, route,
    );
    const fits = wanted === null ? !requireRoute : wanted.equals(key.publicKey);
    refuseUnless(fits, "the client wants another server", Code.UNKNOWN_SERVER_KEY);
  }

  challenge() {
    const { key, ephemeral, credentials } = this.#own;
    const statement = serverStatement(this.h1, ephemeral.publicKey, key.publicKey, this.suite);
    const payload = Buffer.concat([u8(this.suite), payloadOf(credentials, statement)]);
    this.#noise.mixSessionKey(ephemeral.publicKey);
    this.#noise.mixKey(x25519(ephemeral.privateKey, this.#theirs));
    const ekem1 = this.hybrid ? this.#encapsulate() : NONE;
    const s = this.#noise.encrypt(key.publicKey);
    this.#noise.mixKey(x25519(key.privateKey, this.#theirs));
    const noise2 = Buffer.concat([ephemeral.publicKey, ekem1, s, this.#noise.encrypt(payload)]);
    this.h2 = this.#noise.h;
    return frame(Kind.CHALLENGE, noise2);
  }

  #encapsulate() {
    const { ciphertext, secret } = kemEncapsulate(this.#e1, this.#own.kemMessage);
    const sealed = this.#noise.encrypt(ciphertext);
    this.#noise.mixKey(secret);
    return sealed;
  }

  /** Reads the response's body; afterwards `clientKey`, `keys` and `channelBinding` are there. */
  readResponse(body) {
    const notGenuine = (fits) => refuseUnless(fits, "the response is not genuine", Code.BAD_CHALLENGE_RESPONSE);
    this.clientKey = this.#noise.decrypt(body.subarray(0, 48));
    notGenuine(this.clientKey && isGoodPublicKey(this.clientKey));
    this.#noise.mixKey(x25519(this.#own.ephemeral.privateKey, this.clientKey));
    this.clientPayload = this.#noise.decrypt(body.subarray(48));
    notGenuine(this.clientPayload);
    this.clientStatement = clientStatement(this.h2, this.clientKey);
    this.channelBinding = this.#noise.h;
    this.keys = this.#noise.split();
  }
}

const noise1Size = (mode) => [32, 48, 1216, 1248][mode];

/** Steps 2 to 4 of section 2.3. `known` has the bits that a mode may have. */
function splitHello(body, known) {
  refuseUnless(body.toString("latin1", 0, 3) === "SSv", "not a hello");
  refuseUnless(body[3] === 0x31, "another version", Code.UNSUPPORTED_VERSION);
  const mode = body[4];
  refuseUnless((mode & ~known) === 0, "an unknown mode", Code.UNSUPPORTED_VERSION);
  const count = body[5];
  const end = 6 + count + 48;
  refuseUnless(count > 0 && body.length === end + noise1Size(mode), "hello's length does not fit its mode and count");
  const suites = [...body.subarray(6, 6 + count)];
  refuseUnless(new Set(suites).size === count, "a suite stands twice in hello");
  const noise1 = body.subarray(end);
  refuseUnless(isGoodPublicKey(noise1.subarray(0, 32)), "the client's session key is refused");
  return { mode, suites, route: body.subarray(6 + count, end), header: body.subarray(0, end), noise1 };
}

function refuseUnless(fits, message, code = Code.PROTOCOL_ERROR) {
  if (!fits) throw new Refused(code, message);
}
