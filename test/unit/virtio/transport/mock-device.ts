/** A virtio device's shared state at power-on, for tests. */
import { type InterruptTarget, IntxLine } from '../../../../src/virtio/interrupt.js';
import { bindVirtio, layoutVirtio, type VirtioShape, vectorCount } from '../../../../src/virtio/registers.js';
import { clearDriverRegisters } from '../../../../src/virtio/transport/lifecycle.js';

export const shape = (changes: Partial<VirtioShape> = {}): VirtioShape => ({
  name: 'test0',
  deviceType: 2,
  queueSizes: [256, 64],
  features: [0x3000_0201, 0x1],
  configSize: 24,
  writableConfig: [4],
  ...changes,
});

export const doorbellFd = 500;
export const vectorFd = 600;

export function makeTarget(of = shape(), setLine: (gsi: number, level: 0 | 1) => void = () => {}): InterruptTarget {
  const layout = layoutVirtio(of, 0);
  const state = bindVirtio(new SharedArrayBuffer(layout.end), layout);
  clearDriverRegisters(state);
  return {
    state,
    descriptors: {
      doorbells: of.queueSizes.map((_, queue) => doorbellFd + queue),
      vectors: Array.from({ length: vectorCount(of) }, (_, vector) => vectorFd + vector),
      gsi: 24,
    },
    line: new IntxLine(17, [state], setLine),
  };
}

/** What threads share of a device's interrupts, as plain data. */
export const sharedWords = ({ state }: InterruptTarget): number[] => [
  state.device.isr[0]!,
  state.device.intxDisabled[0]!,
  state.device.msixControl[0]!,
  state.device.busMaster[0]!,
  ...state.msixPending,
  ...state.msixTable,
];
