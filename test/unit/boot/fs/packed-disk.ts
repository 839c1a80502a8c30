/**
 * An image without its zeros, for fuzzing formats whose smallest image is large: what is packed is small, and all that is
 * changed in it is structure, or where a structure lies.
 *
 * Little-endian words: blocks of 4 KiB of the whole image, blocks that follow, the number of each of those; then the blocks.
 */
import { MemoryDisk } from './images.js';

const blockBytes = 4096;
const headerBytes = 8;
/** A changed size is cut to this. */
const maxBlocks = 16384;

/** Packs an image; `pack(unpack(x))` need not be x. */
export function pack(image: Buffer): Buffer {
  const numbers: number[] = [];
  for (let at = 0; at < image.length; at += blockBytes)
    if (image.subarray(at, at + blockBytes).some((byte) => byte !== 0)) numbers.push(at / blockBytes);
  const header = Buffer.from(Uint32Array.of(Math.ceil(image.length / blockBytes), numbers.length, ...numbers).buffer);
  const blocks = numbers.map((number) => {
    const block = Buffer.alloc(blockBytes);
    image.copy(block, 0, number * blockBytes);
    return block;
  });
  return Buffer.concat([header, ...blocks]);
}

/** The packed blocks in `packed`, where they lie in it and in the image; never more than are there. */
export function* blocksOf(packed: Buffer): Generator<{ readonly number: number; readonly bytes: Buffer }> {
  const claimed = packed.length < headerBytes ? 0 : packed.readUInt32LE(4);
  const count = Math.min(claimed, Math.floor((packed.length - headerBytes) / (blockBytes + 4)));
  const data = headerBytes + 4 * count;
  for (let i = 0; i < count; i++)
    yield {
      number: packed.readUInt32LE(headerBytes + 4 * i),
      bytes: packed.subarray(data + i * blockBytes, data + (i + 1) * blockBytes),
    };
}

/** The image, its zeros made up as they are read. */
export class PackedDisk extends MemoryDisk {
  readonly #size: number;
  readonly #blocks: ReadonlyMap<number, Buffer>;

  constructor(packed: Buffer) {
    super(packed);
    this.#size = Math.min(packed.readUInt32LE(0), maxBlocks) * blockBytes;
    this.#blocks = new Map([...blocksOf(packed)].map(({ number, bytes }) => [number, bytes]));
  }

  override get size(): number {
    return this.#size;
  }

  protected override copy(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = offset - (offset % blockBytes); at < offset + length; at += blockBytes) {
      const block = this.#blocks.get(at / blockBytes);
      block?.copy(
        bytes,
        Math.max(0, at - offset),
        Math.max(0, offset - at),
        Math.min(blockBytes, offset + length - at),
      );
    }
    return bytes;
  }
}
