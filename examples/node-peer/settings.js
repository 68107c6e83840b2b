// What the two programs read from their settings: a JSON file. README.md has the names.

import { readFileSync } from "node:fs";
import { keyPair } from "./primitives.js";
import { padding } from "./stream.js";

/** The bytes of a text of section 1: base64, behind a prefix where it is secret; null where there is none. */
function bytes(text, prefix = "") {
  if (text === undefined) return null;
  const decoded = Buffer.from(text.slice(prefix.length), "base64");
  if (prefix + decoded.toString("base64") !== text) throw new Error(`not ${prefix || "a public key"} and base64`);
  return decoded;
}

const privateKey = (text) => bytes(text, "ss-secret:");
const sharedSecret = (text) => bytes(text, "ss-shared:");

export function readSettings(path) {
  if (!path) throw new Error("usage: node client.js SETTINGS.json, node server.js SETTINGS.json");
  return settingsFrom(JSON.parse(readFileSync(path, "utf8")));
}

export function settingsFrom({ key, serverKey, middleboxKey, secret, secrets = [], clients = [], pad = "none", ...rest }) {
  return {
    ...rest,
    key: keyPair(privateKey(key) ?? undefined),
    serverKey: bytes(serverKey),
    middleboxKey: bytes(middleboxKey),
    secret: sharedSecret(secret),
    secrets: secrets.map(sharedSecret),
    clients: clients.map((text) => bytes(text)),
    pad: padding[pad],
  };
}
