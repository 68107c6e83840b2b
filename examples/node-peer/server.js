// Sends back to each client what it sends. Lets in the keys of its list; the first line that it writes has its address and its key.

import { Code, Refused } from "./errors.js";
import { serve } from "./peer.js";
import { readSettings } from "./settings.js";

async function echo(stream) {
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) await stream.write(chunk);
}

const { clients, ...settings } = readSettings(process.argv[2]);

function authorize(key) {
  if (!clients.some((client) => client.equals(key))) throw new Refused(Code.ACCESS_DENIED, "this key is not on the list");
}

const server = await serve({ ...settings, handler: echo, authorize, log: (error) => console.error(String(error)) });
const { address, port } = server.address();
console.log(`${address}:${port} ${settings.key.publicKey.toString("base64")}`);
