/**
 * The framing between the lab's two ends: this side's session.js and the agent in the lab.
 *
 * One byte stream each way. A frame is a header of 9 bytes (kind u8, command number u32, payload length u32, little
 * endian) and a payload: JSON for the control kinds, raw bytes for the streams. Both ends run this same file.
 */

export const Frame = /** @type {const} */ ({
  // outside -> lab
  begin: 1, // JSON { time, entropy, images }: the machine has just been resumed
  exec: 2, // JSON: see `ExecRequest`
  stdin: 3, // bytes; an empty payload is the end of input
  resize: 4, // JSON { rows, columns }
  signal: 5, // JSON { signal }
  // lab -> outside
  ready: 16, // the agent is up: the machine may be saved now
  begun: 17, // JSON { error? }: drives are mounted, commands may come
  stdout: 18, // bytes
  stderr: 19, // bytes
  exit: 20, // JSON { code } or { signal }
});

/**
 * @typedef {object} ExecRequest
 * @property {string[]} command
 * @property {string} cwd
 * @property {Record<string, string>} env
 * @property {{ rows: number, columns: number }} [terminal] run it on a terminal of this size
 */

const HEADER = 9;
/** Far above what either side sends at once; a longer one means that the stream is out of step. */
const MAX_PAYLOAD = 1 << 24;

/**
 * @param {number} kind
 * @param {number} id
 * @param {Uint8Array | object} [payload]
 * @returns {Buffer}
 */
export function encodeFrame(kind, id, payload = {}) {
  const body = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
  const frame = Buffer.allocUnsafe(HEADER + body.length);
  frame.writeUInt8(kind, 0);
  frame.writeUInt32LE(id, 1);
  frame.writeUInt32LE(body.length, 5);
  frame.set(body, HEADER);
  return frame;
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  /** @type {Buffer[]} */
  #chunks = [];
  #length = 0;
  #onFrame;

  /** @param {(kind: number, id: number, payload: Buffer) => void} onFrame */
  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  /** @param {Buffer} chunk */
  push(chunk) {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= HEADER) {
      const header = this.#peek(HEADER);
      const size = header.readUInt32LE(5);
      if (size > MAX_PAYLOAD) throw new Error(`the stream is out of step: a frame of ${size} bytes`);
      if (this.#length < HEADER + size) return;
      const frame = this.#take(HEADER + size);
      this.#onFrame(frame.readUInt8(0), frame.readUInt32LE(1), frame.subarray(HEADER));
    }
  }

  /** @param {number} count */
  #peek(count) {
    if (/** @type {Buffer} */ (this.#chunks[0]).length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    return /** @type {Buffer} */ (this.#chunks[0]);
  }

  /** @param {number} count */
  #take(count) {
    const all = this.#peek(count);
    const rest = all.subarray(count);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
    this.#length -= count;
    return all.subarray(0, count);
  }
}
