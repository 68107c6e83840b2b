// Section 1 of docs/protocol.md: the primitives, under the page's names. Bytes are Buffers.

import { randomBytes } from "node:crypto";
import { blake2b as blake2 } from "@noble/hashes/blake2.js";
import { hmac as hmacOver } from "@noble/hashes/hmac.js";
import { ml_kem768 as mlKem } from "@noble/post-quantum/ml-kem.js";
import sodium from "libsodium-wrappers";

await sodium.ready;

const P = 2n ** 255n - 19n;
const LOW_ORDER = new Set([
  0n,
  1n,
  P - 1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
]);

export const utf8 = (text) => Buffer.from(text, "utf8");
export const u8 = (value) => Buffer.of(value);
export const u16 = (value) => Buffer.of(value & 0xff, value >> 8);
export const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

/** BLAKE2b with 64 bytes of output. */
export const blake2b = (data) => Buffer.from(blake2(data));

/** BLAKE2b with 32 bytes of output, its own key and its own personalisation (16 bytes). */
export const blake2b256 = (data, { key, person } = {}) =>
  Buffer.from(blake2(data, { dkLen: 32, key, personalization: person }));

export const hmac = (key, data) => Buffer.from(hmacOver(blake2, key, data));

const nonceOf = (n) => Buffer.concat([Buffer.alloc(4), u64(n)]);

export const chachaPolySeal = (key, n, ad, text) =>
  Buffer.from(sodium.crypto_aead_chacha20poly1305_ietf_encrypt(text, ad, null, nonceOf(n), key));

/** The text, or null where it isn't genuine. */
export const chachaPolyOpen = (key, n, ad, text) =>
  orNull(() => sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, text, ad, nonceOf(n), key));

const aegisNonce = (n) => Buffer.concat([u64(n), Buffer.alloc(24)]);

export const aegisSeal = (key, n, text) =>
  Buffer.from(sodium.crypto_aead_aegis256_encrypt(text, null, null, aegisNonce(n), key));

/** The text, or null where it isn't genuine. */
export const aegisOpen = (key, n, text) =>
  orNull(() => sodium.crypto_aead_aegis256_decrypt(null, text, null, aegisNonce(n), key));

/** A state of secretstream made from its header: good for both directions, for writer and reader derive it alike. */
export const secretstreamStart = (header, key) => sodium.crypto_secretstream_xchacha20poly1305_init_pull(header, key);

export const secretstreamSeal = (state, text, tag) =>
  Buffer.from(sodium.crypto_secretstream_xchacha20poly1305_push(state, text, null, tag));

/** `{ text, tag }`, or null where it isn't genuine. */
export function secretstreamOpen(state, text) {
  const opened = sodium.crypto_secretstream_xchacha20poly1305_pull(state, text, null);
  return opened ? { text: Buffer.from(opened.message), tag: opened.tag } : null;
}

/** A key pair, fresh or of this private key. */
export function keyPair(privateKey = randomBytes(32)) {
  return { privateKey, publicKey: Buffer.from(sodium.crypto_scalarmult_base(privateKey)) };
}

/** X25519. An all-zero result is refused: libsodium throws. */
export const x25519 = (privateKey, publicKey) => Buffer.from(sodium.crypto_scalarmult(privateKey, publicKey));

/** False for an encoding that isn't canonical and for a point of low order. */
export function isGoodPublicKey(bytes) {
  if (bytes.length !== 32) return false;
  const value = BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
  return value < P && !LOW_ORDER.has(value);
}

/** ML-KEM-768's KeyGen, fresh or of d | z: `{ publicKey, secretKey }`. */
export function kemKeyPair(seed = randomBytes(64)) {
  const { publicKey, secretKey } = mlKem.keygen(seed);
  return { publicKey: Buffer.from(publicKey), secretKey };
}

/** Encaps, of a fresh m or of this one: `{ ciphertext, secret }`. */
export function kemEncapsulate(publicKey, m = randomBytes(32)) {
  const { cipherText, sharedSecret } = mlKem.encapsulate(publicKey, m);
  return { ciphertext: Buffer.from(cipherText), secret: Buffer.from(sharedSecret) };
}

/** Decaps. A ciphertext for another key gives another secret. */
export const kemDecapsulate = (secretKey, ciphertext) => Buffer.from(mlKem.decapsulate(ciphertext, secretKey));

/** Whether all coefficients of an encapsulation key, 12 bits each and the lower bits first, are below 3,329. */
export function isGoodEncapsulationKey(bytes) {
  if (bytes.length !== 1184) return false;
  for (let at = 0; at < 1152; at += 3) {
    const pair = bytes.readUIntLE(at, 3);
    if ((pair & 0xfff) >= 3329 || pair >> 12 >= 3329) return false;
  }
  return true;
}

/** The pre-shared key of a shared secret: 32 to 4,096 bytes, not all zero. */
export function pskOf(secret) {
  if (secret.length < 32 || secret.length > 4096 || secret.every((byte) => byte === 0)) {
    throw new RangeError("a shared secret is 32 to 4,096 bytes, not all zero");
  }
  return blake2b256(secret, { person: utf8("securestream-psk") });
}

function orNull(open) {
  try {
    return Buffer.from(open());
  } catch {
    return null; // libsodium has one error for whatever isn't genuine
  }
}
