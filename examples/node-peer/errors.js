// What can go wrong (section 5 of docs/protocol.md). Each error says whose fault it is by its class.

export const Code = Object.freeze({
  APPLICATION_ERROR: 1,
  BAD_CHALLENGE_RESPONSE: 2,
  UNSUPPORTED_VERSION: 3,
  NO_COMMON_SUITE: 4,
  UNKNOWN_SERVER_KEY: 5,
  BAD_SHARED_SECRET: 6,
  ACCESS_DENIED: 7,
  BAD_CREDENTIALS: 8,
  HANDSHAKE_TIMEOUT: 9,
  BUSY: 10,
  PROTOCOL_ERROR: 11,
  BAD_RECORD: 12,
  INTERNAL_ERROR: 13,
  INAPPROPRIATE_FALLBACK: 17,
});

/** The peer broke a rule, or may not come in: `code` is the alert that it gets. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.name = "Refused";
    this.code = code;
  }
}

/** The peer ended the stream and said why. One in clear (`authentic` is false) anyone could have written. */
export class PeerAlert extends Error {
  constructor(code, message, authentic) {
    super(`alert ${code}${message ? `: ${message}` : ""}${authentic ? "" : " (in clear)"}`);
    this.name = "PeerAlert";
    this.code = code;
    this.text = message;
    this.authentic = authentic;
  }
}

/** The transport ended without CLOSE or ALERT: never an end of data. */
export class Truncated extends Error {
  constructor(cause) {
    super("the transport ended in mid-stream", { cause });
    this.name = "Truncated";
  }
}
