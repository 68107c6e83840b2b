// Section 2.1: the symmetric state of the Noise handshake. Its methods have the page's names.

import { blake2b, chachaPolyOpen, chachaPolySeal, hmac, u8, utf8 } from "./primitives.js";

const hkdf = (ck, x) => {
  const t = hmac(ck, x);
  const o1 = hmac(t, u8(1));
  const o2 = hmac(t, Buffer.concat([o1, u8(2)]));
  const o3 = hmac(t, Buffer.concat([o2, u8(3)]));
  return [o1, o2, o3];
};

// By the mode: bit 0 is psk0, bit 1 is hfs.
const PROTOCOL_NAMES = [
  "Noise_XX_25519_ChaChaPoly_BLAKE2b",
  "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b",
  "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2b",
  "Noise_XXhfs+psk0_25519+MLKEM768_ChaChaPoly_BLAKE2b",
];

export class NoiseState {
  constructor(mode, header) {
    const name = Buffer.alloc(64);
    name.write(PROTOCOL_NAMES[mode], "ascii");
    Object.assign(this, { withPsk: (mode & 1) === 1, h: name, ck: name, k: null, n: 0 });
    this.mixHash(Buffer.concat([utf8("securestream/1"), header]));
  }

  /** A second state that goes its own way: to try one secret after another. */
  copy() {
    return Object.assign(Object.create(NoiseState.prototype), this);
  }

  mixHash(x) {
    this.h = blake2b(Buffer.concat([this.h, x]));
  }

  mixKey(x) {
    const [o1, o2] = hkdf(this.ck, x);
    Object.assign(this, { ck: o1, k: o2.subarray(0, 32), n: 0 });
  }

  mixKeyAndHash(x) {
    const [o1, o2, o3] = hkdf(this.ck, x);
    this.ck = o1;
    this.mixHash(o2);
    Object.assign(this, { k: o3.subarray(0, 32), n: 0 });
  }

  /** The token "e", on either side: a session key is not secret, and with a psk it has to make a key all the same. */
  mixSessionKey(publicKey) {
    this.mixHash(publicKey);
    if (this.withPsk) this.mixKey(publicKey);
  }

  encrypt(x) {
    const c = this.k === null ? x : chachaPolySeal(this.k, this.n++, this.h, x);
    this.mixHash(c);
    return c;
  }

  /** The text, or null where it isn't genuine. */
  decrypt(c) {
    const x = this.k === null ? c : chachaPolyOpen(this.k, this.n++, this.h, c);
    this.mixHash(c);
    return x;
  }

  /** The keys of the records. */
  split() {
    const [o1, o2] = hkdf(this.ck, Buffer.alloc(0));
    return { clientToServer: o1.subarray(0, 32), serverToClient: o2.subarray(0, 32) };
  }
}
