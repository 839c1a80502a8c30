/** stub */
import type { TsvmmError } from '../errors.js';
import type { RamRegion } from '../memory/guest-memory.js';
import type { VirtioDescriptors } from '../virtio/registers.js';
import type { MachinePlan } from './plan.js';
import type { Warning } from './virtual-machine.js';
export interface X {
  ioWorker: 'shared' | 'own';
  plan: MachinePlan;
  state: SharedArrayBuffer;
  regions: readonly RamRegion[];
  descriptors: VirtioDescriptors[];
  vmFd: number;
  doorbell: number;
  mainDoorbell: number;
  failed(e: TsvmmError): void;
  warning(w: Warning): void;
}
export class DataPaths {
  static async attach(_: X): Promise<DataPaths> {
    return new DataPaths();
  }
  metrics() {
    return {};
  }
  async close(): Promise<void> {}
}
