/**
 * What a connection carries after the command `console`, in both directions: frames of a type (1 byte), the length of what follows
 * (4 bytes, big endian) and that many bytes. Main thread; pure.
 *
 * Frames and no raw bytes, so that besides text each side can say something of the text: the terminal has this size, so much was
 * left out, this is the end. One that is too long, or of a type that the reader does not expect, is the end of the connection.
 */

/** From the machine. */
export const FromMachine = {
  /** Output of the guest, as it is. */
  output: 1,
  /** So many bytes of output were left out here, since the reader was too slow: 8 bytes, big endian. */
  gap: 2,
  /** The machine has ended: why, in ASCII. Nothing follows. */
  end: 3,
} as const;

/** To the machine. */
export const ToMachine = {
  /** What was typed. */
  input: 1,
  /** The terminal's size: columns and rows, 2 bytes each, big endian. */
  size: 2,
} as const;

export const mostPayload = 64 * 1024;
const headerSize = 5;

export function frame(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(headerSize + payload.length);
  bytes[0] = type;
  bytes.writeUInt32BE(payload.length, 1);
  bytes.set(payload, headerSize);
  return bytes;
}

/** As many frames as a text takes. */
export function framesOf(type: number, text: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < text.length; at += mostPayload) frames.push(frame(type, text.subarray(at, at + mostPayload)));
  return frames;
}

export function gapFrame(bytes: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeBigUInt64BE(BigInt(bytes));
  return frame(FromMachine.gap, payload);
}

export function sizeFrame(columns: number, rows: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt16BE(columns, 0);
  payload.writeUInt16BE(rows, 2);
  return frame(ToMachine.size, payload);
}

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** Cuts what comes into frames. */
export class FrameReader {
  readonly #types: readonly number[];
  #pending: Buffer = Buffer.alloc(0);

  /** `types`: those that may come. */
  constructor(types: Readonly<Record<string, number>>) {
    this.#types = Object.values(types);
  }

  push(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
  }

  /** The next frame; undefined until it is complete. Throws a `RangeError` for what is none: no frame can follow. */
  take(): Frame | undefined {
    const pending = this.#pending;
    if (pending.length === 0) return undefined;
    const type = pending[0]!;
    if (!this.#types.includes(type)) throw new RangeError(`a frame of type ${type}`);
    if (pending.length < headerSize) return undefined;
    const length = pending.readUInt32BE(1);
    if (length > mostPayload) throw new RangeError(`a frame of ${length} bytes`);
    const end = headerSize + length;
    if (pending.length < end) return undefined;
    this.#pending = pending.subarray(end);
    return { type, payload: pending.subarray(headerSize, end) };
  }
}
