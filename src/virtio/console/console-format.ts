/** Constants and configuration of the console device: virtio 1.2 §5.3. Any thread; pure. */
import { commonFeatures } from '../device.js';
import { featureWords } from '../features.js';
import type { VirtioShape } from '../registers.js';

const DEVICE_TYPE = 3;
/** §5.3.3. */
export const ConsoleFeature = { size: 0 } as const;
/** §5.3.2: host to guest, guest to host. */
export const ConsoleQueue = { receive: 0, transmit: 1 } as const;
const queueSize = 64;

/** §5.3.4: columns u16, rows u16, maximum of ports u32, emergency write u32. */
const configSize = 12;
/** What the device is to its driver. */
export const consoleShape = (name: string): VirtioShape => ({
  name,
  deviceType: DEVICE_TYPE,
  queueSizes: [queueSize, queueSize],
  features: featureWords([...commonFeatures, ConsoleFeature.size]),
  configSize,
  writableConfig: [],
});

/** The first bytes of configuration; a resize changes these and tells the driver. */
export function consoleSize(columns: number, rows: number): Uint8Array {
  const bytes = new Uint8Array(4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, columns, true);
  view.setUint16(2, rows, true);
  return bytes;
}

/** The configuration space that the driver finds. */
export function consoleConfig(columns: number, rows: number): Uint8Array {
  const config = new Uint8Array(configSize);
  config.set(consoleSize(columns, rows));
  return config;
}

/** Indices of its counters. */
export const ConsoleCounter = { bytesOut: 0, bytesIn: 1, dropped: 2 } as const;
