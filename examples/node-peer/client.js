// Sends what comes on standard input, ends its direction, and writes what the server sends to standard output.

import { connect } from "./peer.js";
import { readSettings } from "./settings.js";

const stream = await connect(readSettings(process.argv[2]));

async function send() {
  for await (const chunk of process.stdin) await stream.write(chunk);
  await stream.end();
}

async function receive() {
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) process.stdout.write(chunk);
}

try {
  await Promise.all([send(), receive()]);
} finally {
  await stream.close();
}
