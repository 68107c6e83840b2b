// The vectors of tests/vectors, tried on the peer in Node: `node vectors.js FOLDER` prints a line for each that failed, and how many there were.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { PeerAlert, Refused, Truncated } from "../../examples/node-peer/errors.js";
import { ClientHandshake, Expected, ServerHandshake } from "../../examples/node-peer/handshake.js";
import { Input } from "../../examples/node-peer/input.js";
import { readFrame } from "../../examples/node-peer/peer.js";
import { kemDecapsulate, kemEncapsulate, kemKeyPair, keyPair } from "../../examples/node-peer/primitives.js";
import { RecordWriter } from "../../examples/node-peer/records.js";
import { SecureStream } from "../../examples/node-peer/stream.js";

const folder = process.argv[2];
const bytes = (hex) => (hex === null ? null : Buffer.from(hex, "hex"));
const same = (found, hex, what) => assert.equal(Buffer.from(found).toString("hex"), hex, what);
const vectorsOf = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const handshakes = vectorsOf("handshakes.json");

/** A transport that has these bytes to read and then ends; what is written to it is kept. */
class Transport extends Duplex {
  constructor(data, piece) {
    super({ allowHalfOpen: true });
    this.written = [];
    for (let at = 0; at < data.length; at += piece) this.push(data.subarray(at, at + piece));
    this.push(null);
  }

  _read() {}

  _write(chunk, encoding, done) {
    this.written.push(chunk);
    done();
  }
}

const inputOf = (data, piece = data.length) => new Input(new Transport(data, piece));

const bodyOf = (frame) => {
  assert.equal(frame.readUInt16LE(0), frame.length);
  return frame.subarray(3);
};

function sidesOf({ client, server, kem }) {
  return {
    client: new ClientHandshake({
      key: keyPair(bytes(client.private_key)),
      ephemeral: keyPair(bytes(client.ephemeral_private_key)),
      serverKey: bytes(client.server_key),
      middleboxKey: bytes(client.middlebox_key),
      blindRoute: bytes(client.random_route),
      secret: bytes(client.secret),
      suites: client.suites,
      postQuantum: client.post_quantum,
      kemEphemeral: kem && kemKeyPair(bytes(kem.d_z)),
      credentials: () => bytes(client.credentials),
    }),
    server: new ServerHandshake({
      key: keyPair(bytes(server.private_key)),
      ephemeral: keyPair(bytes(server.ephemeral_private_key)),
      secrets: server.secrets.map(bytes),
      suites: server.suites,
      postQuantum: server.post_quantum,
      kemMessage: kem ? bytes(kem.m) : undefined,
      credentials: () => bytes(server.credentials),
    }),
  };
}

function checkHandshake(vector) {
  const { client, server } = sidesOf(vector);
  same(client.hello(), vector.hello, "hello");
  server.readHello(bodyOf(bytes(vector.hello)));
  same(server.challenge(), vector.challenge, "challenge");
  client.readChallenge(bodyOf(bytes(vector.challenge)));
  same(client.response(), vector.response, "response");
  server.readResponse(bodyOf(bytes(vector.response)));
  for (const side of [client, server]) {
    assert.equal(side.suite, vector.suite);
    same(side.h1, vector.h1, "h1");
    same(side.h2, vector.h2, "h2");
    same(side.channelBinding, vector.h3, "h3");
    same(side.keys.clientToServer, vector.client_to_server_key, "key");
    same(side.keys.serverToClient, vector.server_to_client_key, "key");
  }
  same(client.serverStatement, vector.server_statement, "the server's statement");
  same(server.clientStatement, vector.client_statement, "the client's statement");
  same(client.serverPayload, vector.server.credentials, "the server's credentials");
  same(server.clientPayload, vector.client.credentials, "the client's credentials");
}

function checkKem({ kem }) {
  if (kem === null) return;
  const { publicKey, secretKey } = kemKeyPair(bytes(kem.d_z));
  const { ciphertext, secret } = kemEncapsulate(publicKey, bytes(kem.m));
  same(ciphertext, kem.ciphertext, "the KEM's ciphertext");
  same(secret, kem.shared_secret, "the KEM's shared secret");
  same(kemDecapsulate(secretKey, ciphertext), kem.shared_secret, "the same for the client");
}

function checkWriting(vector) {
  const writer = new RecordWriter(vector.suite, bytes(vector.key), { header: bytes(vector.header) });
  let header = vector.header;
  for (const { type, content, padding, record } of vector.records) {
    const written = writer.write(type, bytes(content), writer.overhead + content.length / 2 + padding);
    same(written, header + record, `a record of type ${type}`);
    header = "";
  }
}

/** What a stream makes of these bytes: the content that it delivers, and how it ends, as stream_failures.json has it. */
async function outcomeOf({ suite, key, writer }, stream, piece) {
  const socket = new Transport(stream, piece);
  const keys = { clientToServer: bytes(key), serverToClient: bytes(key) };
  const reader = new SecureStream(socket, new Input(socket), { handshake: { suite, keys }, isServer: writer === "client" });
  const outcome = { content: "", refused: null, truncated: false, closed: false, alert: null, alert_in_clear: null };
  try {
    for (let chunk = await reader.read(); chunk !== null; chunk = await reader.read()) outcome.content += chunk.toString("hex");
    outcome.closed = true;
  } catch (error) {
    if (error instanceof Refused) outcome.refused = error.code;
    else if (error instanceof Truncated) outcome.truncated = true;
    else if (error instanceof PeerAlert) outcome[error.authentic ? "alert" : "alert_in_clear"] = error.code;
    else throw error;
  }
  assert.equal(socket.written.length > 0, outcome.refused !== null, "an alert is sent for what is refused, and for nothing else");
  return outcome;
}

async function checkStreamFailure(vector) {
  const { name, suite, key, writer, stream, ...expected } = vector;
  for (const piece of [1, stream.length]) assert.deepEqual(await outcomeOf(vector, bytes(stream), piece), expected);
}

async function checkReading(vector) {
  const ofType = (type) => vector.records.filter((record) => record.type === type).map((record) => record.content);
  const [alert] = ofType(1).map((content) => bytes(content).readUInt16LE(0));
  const closed = ofType(2).length > 0;
  const stream = bytes(vector.header + vector.records.map(({ record }) => record).join(""));
  assert.deepEqual(await outcomeOf(vector, stream, 1000), {
    content: ofType(0).join(""),
    refused: null,
    truncated: !closed && alert === undefined,
    closed,
    alert: alert ?? null,
    alert_in_clear: null,
  });
}

async function checkHello(vector) {
  const server = new ServerHandshake({
    key: keyPair(bytes(vector.server_private_key)),
    suites: vector.server_suites,
    secrets: vector.server_secrets.map(bytes),
    gate: vector.gate,
    requireRoute: vector.require_route,
    postQuantum: vector.server_post_quantum,
  });
  const reading = async () => server.readHello(await readFrame(inputOf(bytes(vector.frame)), Expected.HELLO));
  await assert.rejects(reading, { name: "Refused", code: vector.alert });
}

async function checkFrame(vector) {
  const { client, server } = sidesOf(handshakes.find(({ name }) => name === vector.handshake));
  server.readHello(bodyOf(client.hello()));
  const input = inputOf(bytes(vector.frame));
  if (vector.reader === "server") {
    server.challenge();
    const reading = async () => server.readResponse(await readFrame(input, Expected.RESPONSE));
    return assert.rejects(reading, { name: "Refused", code: vector.alert });
  }
  const expected = vector.alert === null ? { name: "PeerAlert", code: vector.alert_in_clear } : { name: "Refused", code: vector.alert };
  return assert.rejects(async () => client.readChallenge(await readFrame(input, client.expected)), expected);
}

const CHECKS = {
  "handshakes.json": [checkKem, checkHandshake],
  "streams.json": [checkWriting, checkReading],
  "hello_failures.json": [checkHello],
  "frame_failures.json": [checkFrame],
  "stream_failures.json": [checkStreamFailure],
};

for (const [file, checks] of Object.entries(CHECKS)) {
  const vectors = vectorsOf(file);
  for (const vector of vectors) {
    for (const check of checks) {
      try {
        await check(vector);
      } catch (error) {
        console.log(`failed: ${file}: ${vector.name}: ${error.message}`);
      }
    }
  }
  console.log(`tried: ${file}: ${vectors.length}`);
}
