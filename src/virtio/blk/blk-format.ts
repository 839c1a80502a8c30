/** Constants and configuration of the block device: virtio 1.2 §5.2. Any thread; pure. */
import { commonFeatures } from '../device.js';
import { featureWords } from '../features.js';
import type { VirtioShape } from '../registers.js';

export const sectorSize = 512;
const DEVICE_TYPE = 2;

/** Feature bits, §5.2.3. */
export const BlkFeature = {
  segMax: 2,
  readOnly: 5,
  blkSize: 6,
  flush: 9,
  topology: 10,
  configWce: 11,
  multiQueue: 12,
} as const;

/** Request types, §5.2.6. */
export const BlkRequest = { in: 0, out: 1, flush: 4, getId: 8 } as const;
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

/** Offsets in configuration space, §5.2.4. */
const Config = {
  capacity: 0,
  segMax: 12,
  blkSize: 20,
  physicalBlockExponent: 24,
  minIoSize: 26,
  optIoSize: 28,
  writeback: 32,
  numQueues: 34,
  size: 60,
} as const;
export const writebackOffset = Config.writeback;

/** Indices of its counters. */
export const BlkCounter = { reads: 0, writes: 1, flushes: 2, bytesRead: 3, bytesWritten: 4, errors: 5 } as const;

export type BlockSize = 512 | 4096;

export interface BlkOptions {
  readonly name: string;
  /** Bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Bytes of a logical block: the least that the driver reads and writes, and what a partition table counts in. 512 unless given. */
  readonly blockSize?: BlockSize;
  /** 1 unless given. */
  readonly queues?: number;
}

export function blkShape({ name, readOnly, queues = 1 }: BlkOptions): VirtioShape {
  const { segMax, blkSize, flush, topology, configWce, multiQueue } = BlkFeature;
  const features = [...commonFeatures, segMax, blkSize, flush, topology];
  features.push(readOnly ? BlkFeature.readOnly : configWce);
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

/** Files like it best to be read and written in so many bytes. */
const physicalBlock = 4096;

/** The configuration space that the driver finds. Capacity counts in 512 bytes whatever the block size, §5.2.4. */
export function blkConfig({ size, blockSize = sectorSize, queues = 1 }: BlkOptions): Uint8Array {
  const config = new Uint8Array(Config.size);
  const view = new DataView(config.buffer);
  view.setBigUint64(Config.capacity, BigInt(size / sectorSize), true);
  view.setUint32(Config.segMax, segMax, true);
  view.setUint32(Config.blkSize, blockSize, true);
  config[Config.physicalBlockExponent] = Math.log2(physicalBlock / blockSize);
  view.setUint16(Config.minIoSize, physicalBlock / blockSize, true); // in blocks
  view.setUint32(Config.optIoSize, 0, true);
  config[Config.writeback] = 1;
  view.setUint16(Config.numQueues, queues, true);
  return config;
}
