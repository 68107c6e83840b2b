// One end of a connection that does what a test says, and reports in lines of JSON what it sees.
// Standard input has one JSON object: role, settings, steps.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Code, Refused } from "../../examples/node-peer/errors.js";
import { connect, serve } from "../../examples/node-peer/peer.js";
import { settingsFrom } from "../../examples/node-peer/settings.js";

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

function sayError(error) {
  say({ event: error.name, code: error.code ?? null, text: error.text ?? error.message, authentic: error.authentic ?? null });
}

const STEPS = {
  write: (stream, size, byte) => stream.write(Buffer.alloc(size, byte)),
  writeNothing: (stream, length) => stream.writeNothing(length),
  updateKey: (stream) => stream.updateKey(),
  end: (stream) => stream.end(),
  alert: (stream, code, text) => stream.alert(code, text),
  cut: (stream) => stream.cut(),
  close: (stream) => stream.close(),
  async read(stream, size) {
    let got = 0;
    while (got < size) got += (await stream.read()).length;
    say({ event: "read", size: got });
  },
  async readToEnd(stream) {
    const chunks = [];
    for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) chunks.push(chunk);
    const all = Buffer.concat(chunks);
    say({ event: "end", size: all.length, sha256: sha256(all), updates: stream.updatesRead });
  },
};

async function follow(stream, steps) {
  say({
    event: "connected",
    suite: stream.suite,
    peer: stream.peerKey.toString("base64"),
    binding: stream.channelBinding.toString("hex"),
    postQuantum: stream.postQuantum,
  });
  try {
    for (const [name, ...values] of steps) await STEPS[name](stream, ...values);
  } catch (error) {
    sayError(error);
  }
}

const { role, settings, steps } = JSON.parse(readFileSync(0, "utf8"));
const { clients, ...options } = settingsFrom(settings);

if (role === "client") {
  try {
    const stream = await connect(options);
    await follow(stream, steps);
    await stream.close();
  } catch (error) {
    sayError(error);
  }
} else {
  const authorize = (key) => {
    if (!clients.some((client) => client.equals(key))) throw new Refused(Code.ACCESS_DENIED, "not on the list");
  };
  const server = await serve({
    ...options,
    authorize,
    handler: (stream) => {
      server.close(); // one client is all
      return follow(stream, steps);
    },
    log: (error) => {
      if (error.code === Code.UNSUPPORTED_VERSION) return; // a hybrid hello: its client comes again
      sayError(error);
      server.close();
    },
  });
  say({ event: "listening", port: server.address().port });
}
