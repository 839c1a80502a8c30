/**
 * Basic blocks as they become while a log is replayed: those that it changed are held, others are on the disk. Main thread.
 */
import { basicBlock } from './block-header.js';
import type { XfsLog } from './log.js';
import type { XfsVolume } from './volume.js';

/** 256 MiB. A log that changes more is left to the kernel. */
const maxBlocks = 1 << 19;

export class ReplayedBlocks {
  readonly overlay = new Map<number, Buffer>();
  readonly #log: XfsLog;
  readonly #volume: XfsVolume;

  constructor(log: XfsLog) {
    this.#log = log;
    this.#volume = log.volume.with(log.volume.superblock, this.overlay);
  }

  /** A copy that may be written to. Offset and length in bytes. */
  async read(offset: number, length: number): Promise<Buffer> {
    if (!(offset >= 0 && offset + length <= this.#volume.size))
      throw this.#log.refused(`it writes at ${offset}, outside the file system`);
    return Buffer.from(await this.#volume.readBytes(offset, length));
  }

  /** `bytes` at `offset`; only what differs from `before` takes memory. */
  async write(offset: number, bytes: Buffer): Promise<void> {
    const from = Math.floor(offset / basicBlock) * basicBlock;
    const to = Math.ceil((offset + bytes.length) / basicBlock) * basicBlock;
    const whole = await this.read(from, to - from);
    for (let at = from; at < to; at += basicBlock) {
      const block = Buffer.from(whole.subarray(at - from, at - from + basicBlock));
      bytes.copy(block, Math.max(0, offset - at), Math.max(0, at - offset), at - offset + basicBlock);
      if (whole.compare(block, 0, basicBlock, at - from, at - from + basicBlock) !== 0)
        this.overlay.set(at / basicBlock, block);
    }
    if (this.overlay.size > maxBlocks)
      throw this.#log.refused(`it changes more than ${maxBlocks * basicBlock} bytes, which are not held in memory`);
  }
}
