/** Constants and configuration of the block device: virtio 1.2 §5.2. Any thread; pure. */
import { commonFeatures } from '../device.js';
import { featureWords } from '../features.js';
import type { VirtioShape } from '../registers.js';

export const sectorSize = 512;
const DEVICE_TYPE = 2;

/** Feature bits, §5.2.3. */
export const BlkFeature = {
  sizeMax: 1,
  segMax: 2,
  readOnly: 5,
  blkSize: 6,
  flush: 9,
  topology: 10,
  configWce: 11,
  multiQueue: 12,
  discard: 13,
  writeZeroes: 14,
} as const;

/** Request types, §5.2.6. */
export const BlkRequest = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
/** Of those that the host can fail, for messages. */
export const requestNames: Readonly<Record<number, string>> = {
  [BlkRequest.in]: 'read',
  [BlkRequest.out]: 'write',
  [BlkRequest.flush]: 'flush',
  [BlkRequest.discard]: 'discard',
  [BlkRequest.writeZeroes]: 'zeroing',
};
export const BlkStatus = { ok: 0, ioError: 1, unsupported: 2 } as const;

/** type u32, reserved u32, sector u64. */
export const headerSize = 16;
/** Bytes of the answer to GET_ID. */
export const idSize = 20;

const queueSize = 256;
/** Buffers of one chain: as many as the queue has descriptors. */
export const maxChain = queueSize;
/** Header and status take two of them. */
const segMax = maxChain - 2;
/** Bytes of one: as many of them as there may be are less than the longest request that the device performs. */
const sizeMax = 2 ** 20;

/** Ranges of one DISCARD or WRITE_ZEROES request, and sectors of each: 1 GiB. */
export const maxRanges = 16;
export const maxRangeSectors = 2 ** 21;
/** In the upper half of a sector number, which is not exact from there on (2^53); no disk has so many. */
export const highSectorLimit = 0x20_0000;

/** Offsets in configuration space, §5.2.4. */
const Config = {
  capacity: 0,
  sizeMax: 8,
  segMax: 12,
  blkSize: 20,
  physicalBlockExponent: 24,
  minIoSize: 26,
  optIoSize: 28,
  writeback: 32,
  numQueues: 34,
  maxDiscardSectors: 36,
  maxDiscardRanges: 40,
  discardAlignment: 44,
  maxZeroesSectors: 48,
  maxZeroesRanges: 52,
  zeroesMayUnmap: 56,
  size: 60,
} as const;
export const capacityOffset = Config.capacity;
export const writebackOffset = Config.writeback;

/** Indices of its counters. */
export const BlkCounter = {
  reads: 0,
  writes: 1,
  flushes: 2,
  bytesRead: 3,
  bytesWritten: 4,
  errors: 5,
  discards: 6,
  writeZeroes: 7,
  /** How often requests had to wait for the rate limit. */
  throttled: 8,
} as const;

/** Kinds of requests whose times are counted, from when the device takes one until it answers. */
export const BlkLatency = { read: 0, write: 1, flush: 2, clear: 3 } as const;

export type BlockSize = 512 | 4096;

export interface BlkOptions {
  readonly name: string;
  /** Bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Bytes of a logical block: the least that the driver reads and writes, and what a partition table counts in. 512 unless given. */
  readonly blockSize?: BlockSize;
  /** Bytes that the host likes to transfer at a time (st_blksize); 4096 unless given. */
  readonly ioSize?: number;
  /** 1 unless given. */
  readonly queues?: number;
}

export function blkShape({ name, readOnly, queues = 1 }: BlkOptions): VirtioShape {
  const { sizeMax, segMax, blkSize, flush, topology, configWce, multiQueue } = BlkFeature;
  const features = [...commonFeatures, sizeMax, segMax, blkSize, flush, topology];
  if (readOnly) features.push(BlkFeature.readOnly);
  else features.push(configWce, BlkFeature.discard, BlkFeature.writeZeroes);
  if (queues > 1) features.push(multiQueue);
  return {
    name,
    deviceType: DEVICE_TYPE,
    queueSizes: new Array(queues).fill(queueSize),
    features: featureWords(features),
    configSize: Config.size,
    writableConfig: readOnly ? [] : [Config.writeback],
  };
}

/** What the host likes beyond a page is a good size to transfer, and no block that it must read to write part of it. */
const pageSize = 4096;
/** A preference beyond it is no advice to a driver. */
const maxIoSize = 2 ** 30;

/** The bytes at the start of configuration space that say the capacity. */
export function blkCapacity(size: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(size / sectorSize), true);
  return bytes;
}

/** The configuration space that the driver finds. Capacity counts in 512 bytes whatever the block size, §5.2.4. */
export function blkConfig({ size, blockSize = sectorSize, ioSize = pageSize, queues = 1 }: BlkOptions): Uint8Array {
  const config = new Uint8Array(Config.size);
  const view = new DataView(config.buffer);
  config.set(blkCapacity(size), Config.capacity);
  view.setUint32(Config.sizeMax, sizeMax, true);
  view.setUint32(Config.segMax, segMax, true);
  view.setUint32(Config.blkSize, blockSize, true);
  const physicalBlock = physicalBlockOf(ioSize, blockSize);
  config[Config.physicalBlockExponent] = Math.log2(physicalBlock / blockSize);
  view.setUint16(Config.minIoSize, physicalBlock / blockSize, true); // in blocks
  // 0 says nothing; what is no multiple of a physical block would be no help.
  const likesMore = ioSize > physicalBlock && ioSize <= maxIoSize && ioSize % physicalBlock === 0;
  view.setUint32(Config.optIoSize, likesMore ? ioSize / blockSize : 0, true);
  config[Config.writeback] = 1;
  view.setUint16(Config.numQueues, queues, true);
  view.setUint32(Config.maxDiscardSectors, maxRangeSectors, true);
  view.setUint32(Config.maxDiscardRanges, maxRanges, true);
  view.setUint32(Config.discardAlignment, physicalBlock / sectorSize, true); // part of a block keeps its room
  view.setUint32(Config.maxZeroesSectors, maxRangeSectors, true);
  view.setUint32(Config.maxZeroesRanges, maxRanges, true);
  config[Config.zeroesMayUnmap] = 1;
  return config;
}

/** A power of two from the logical block to a page. */
function physicalBlockOf(ioSize: number, blockSize: number): number {
  if (!(ioSize >= blockSize)) return blockSize;
  return Math.max(blockSize, 2 ** Math.floor(Math.log2(Math.min(ioSize, pageSize))));
}
