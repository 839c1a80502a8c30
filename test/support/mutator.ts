/**
 * Changes to inputs of parsers, drawn from a small generator with a fixed seed. Images are mostly zeros: changes fall
 * where something is, or right beside it.
 */
const blockSize = 64;
const interesting = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const maxChanges = 6;
/** A change of length, for texts: no more than this at a time. */
const maxPiece = 64;
const maxText = 64 * 1024;

type Change = (bytes: Buffer, at: number, other: Buffer) => void;

export class Mutator {
  readonly #words: readonly string[] | undefined;
  readonly #used = new WeakMap<Buffer, readonly number[]>();
  #state: number;

  constructor(seed: number, words?: readonly string[]) {
    this.#state = seed >>> 0 || 1;
    this.#words = words;
  }

  /** A changed copy of one of `inputs`. */
  change(inputs: readonly Buffer[]): Buffer {
    const parent = this.#pick(inputs);
    const other = this.#pick(inputs);
    let bytes: Buffer = Buffer.from(parent);
    const count = 1 + this.#below(maxChanges);
    for (let i = 0; i < count; i++) {
      if (this.#words !== undefined && this.#below(3) > 0) bytes = this.#resized(bytes, other, this.#words);
      else if (bytes.length >= 8) this.#pick(this.#changes)(bytes, this.#place(parent, bytes.length), other);
    }
    return bytes;
  }

  readonly #changes: readonly Change[] = [
    (bytes, at) => bytes.writeUInt8(bytes[at]! ^ (1 << this.#below(8)), at),
    (bytes, at) => bytes.writeUInt8(this.#below(256), at),
    (bytes, at) => bytes.writeUInt16LE(this.#value() & 0xffff, this.#within(bytes, at, 2)),
    (bytes, at) => bytes.writeUInt32LE(this.#value(), this.#within(bytes, at, 4)),
    (bytes, at) => bytes.writeUInt32BE(this.#value(), this.#within(bytes, at, 4)),
    (bytes, at) => this.#add(bytes, this.#within(bytes, at, 4)),
    // Numbers in both byte orders, as ISO 9660 has them.
    (bytes, at) => {
      const place = this.#within(bytes, at, 8);
      const value = this.#value();
      bytes.writeUInt32LE(value, place);
      bytes.writeUInt32BE(value, place + 4);
    },
    (bytes, at) => bytes.fill(0, at, Math.min(bytes.length, at + blockSize)),
    (bytes, at, other) => {
      const from = this.#place(other, other.length);
      other.copy(bytes, at, from, from + Math.min(blockSize, bytes.length - at));
    },
    (bytes, at) => {
      const from = this.#place(bytes, bytes.length);
      bytes.copyWithin(at, from, from + blockSize);
    },
  ];

  /** A word put in, a piece taken out or doubled, or a piece of another text. */
  #resized(bytes: Buffer, other: Buffer, words: readonly string[]): Buffer {
    const at = this.#below(bytes.length + 1);
    const end = Math.min(bytes.length, at + this.#below(maxPiece));
    const from = this.#below(other.length + 1);
    const pieces = [
      Buffer.from(words.length === 0 ? '' : this.#pick(words)),
      Buffer.alloc(0),
      bytes.subarray(at, end),
      other.subarray(from, from + maxPiece),
    ];
    const kind = this.#below(pieces.length);
    const rest = bytes.subarray(kind === 1 ? end : at);
    return Buffer.concat([bytes.subarray(0, at), pieces[kind]!, rest]).subarray(0, maxText);
  }

  /** A byte in or beside a block that is not all zeros. */
  #place(parent: Buffer, length: number): number {
    let used = this.#used.get(parent);
    if (used === undefined) {
      used = usedBlocks(parent, blockSize);
      this.#used.set(parent, used);
    }
    const block = used.length === 0 ? 0 : this.#pick(used) + (this.#below(16) === 0 ? blockSize : 0);
    return Math.min(block + this.#below(blockSize), length - 1);
  }

  #within(bytes: Buffer, at: number, width: number): number {
    // Fields are mostly aligned.
    const place = this.#below(4) > 0 ? at - (at % Math.min(width, 4)) : at;
    return Math.max(0, Math.min(place, bytes.length - width));
  }

  #add(bytes: Buffer, at: number): void {
    bytes.writeUInt32LE((bytes.readUInt32LE(at) + this.#below(33) - 16) >>> 0, at);
  }

  #value(): number {
    return this.#below(2) === 0 ? this.#pick(interesting) : this.#below(2) === 0 ? this.#below(4096) : this.#next();
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #below(limit: number): number {
    return this.#next() % limit;
  }

  /** xorshift32. */
  #next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    this.#state >>>= 0;
    return this.#state;
  }
}

/** Where the bytes of an image are not all zero: that is where its structures are. */
export function usedBlocks(bytes: Buffer, size: number): number[] {
  const zeros = Buffer.alloc(size);
  const used: number[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const end = Math.min(at + size, bytes.length);
    if (bytes.compare(zeros, 0, end - at, at, end) !== 0) used.push(at);
  }
  return used;
}
