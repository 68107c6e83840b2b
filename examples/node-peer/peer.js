// Both ends of a connection: the handshake of section 2 over a socket, and the stream that it gives.

import net from "node:net";
import { Code, PeerAlert, Refused } from "./errors.js";
import { alertFrame, ClientHandshake, Expected, Kind, restOfFrame, ServerHandshake } from "./handshake.js";
import { Input, lingering, within } from "./input.js";
import { SecureStream } from "./stream.js";

const CLIENT_DEADLINE = 6000; // milliseconds
const SERVER_DEADLINE = 5000;

/**
 * Connects and shakes hands. `serverKey` is the key that has to answer; or `judge(key, payload, statement)` throws where
 * the server isn't trusted. The other options are those of `ClientHandshake`, and `pad`, `waitForAccept`. Where `postQuantum`
 * is "prefer" and the server has no hybrid handshake, it connects once more (section 2.8).
 */
export async function connect({ postQuantum = "prefer", ...options }) {
  if (!options.serverKey && !options.judge && !options.secret) throw new Error("neither a server's key nor a secret");
  try {
    return await connectOnce({ postQuantum, ...options });
  } catch (error) {
    const refused = error instanceof PeerAlert && !error.authentic && error.code === Code.UNSUPPORTED_VERSION;
    if (postQuantum !== "prefer" || !refused) throw error;
    return connectOnce({ postQuantum: "fallback", ...options });
  }
}

async function connectOnce({ host, port, ...options }) {
  const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
  const late = () => new Error("the handshake took too long");
  try {
    return await within(options.deadline ?? CLIENT_DEADLINE, shakeHandsAsClient(socket, options), late);
  } catch (error) {
    socket.destroySoon();
    throw error;
  }
}

async function shakeHandsAsClient(socket, { judge = null, pad, waitForAccept = true, ...options }) {
  socket.on("error", () => {}); // whoever reads or writes is told
  const input = new Input(socket);
  const handshake = new ClientHandshake(options);
  socket.write(handshake.hello());
  handshake.readChallenge(await readFrame(input, handshake.expected));
  if (options.serverKey && !handshake.serverKey.equals(options.serverKey)) throw new Error("another server answers");
  await judge?.(handshake.serverKey, handshake.serverPayload, handshake.serverStatement);
  socket.write(handshake.response());
  const stream = new SecureStream(socket, input, { handshake, isServer: false, pad });
  if (waitForAccept) stream.answer = await stream.verdict();
  return stream;
}

/**
 * Listens; `handler(stream)` is called for each client that may stay, and the stream is closed behind it.
 * `authorize(key, payload, statement)` gives the answer in ACCEPT or nothing, and throws `Refused` for who may not stay.
 */
export function serve({ host = "127.0.0.1", port = 0, handler, log = () => {}, ...options }) {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    attend(socket, handler, options).catch(log);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => resolve(server));
  });
}

async function attend(socket, handler, options) {
  socket.on("error", () => {});
  const input = new Input(socket);
  const progress = { stream: null };
  const late = () => new Refused(Code.HANDSHAKE_TIMEOUT, "the handshake took too long");
  try {
    await within(options.deadline ?? SERVER_DEADLINE, shakeHandsAsServer(socket, input, options, progress), late);
  } catch (error) {
    await turnAway(socket, input, error, progress.stream);
    throw error;
  }
  await handle(progress.stream, handler);
}

async function shakeHandsAsServer(socket, input, { authorize, pad, ...options }, progress) {
  const handshake = new ServerHandshake(options);
  handshake.readHello(await readFrame(input, Expected.HELLO));
  socket.write(handshake.challenge());
  handshake.readResponse(await readFrame(input, Expected.RESPONSE));
  progress.stream = new SecureStream(socket, input, { handshake, isServer: true, pad });
  const answer = await authorize(handshake.clientKey, handshake.clientPayload, handshake.clientStatement);
  await progress.stream.accept(answer);
}

async function handle(stream, handler) {
  try {
    await handler(stream);
  } catch (error) {
    await stream.alert(Code.INTERNAL_ERROR).catch(() => {});
    throw error;
  } finally {
    await stream.close();
  }
}

/** Says why, in clear before the response has been verified and as a verdict after it; then section 4's way out. */
async function turnAway(socket, input, error, stream) {
  if (stream) {
    const known = error instanceof Refused;
    await stream.refuse(known ? error.code : Code.INTERNAL_ERROR, known ? error.message : "").catch(() => {});
    return stream.close();
  }
  if (!(error instanceof Refused)) return socket.destroy();
  socket.end(alertFrame(error.code));
  return lingering(socket, input.discard());
}

/** The next frame, of those `Expected`. An alert frame is thrown: it ends all that could follow. */
export async function readFrame(input, expected) {
  const { kind, size } = restOfFrame(await input.exactly(3), expected);
  const body = await input.exactly(size);
  if (kind !== Kind.ALERT) return body;
  const code = body.readUInt16LE(0);
  throw code === 0 ? new Refused(Code.PROTOCOL_ERROR, "an alert of code 0") : new PeerAlert(code, "", false);
}
