import { expect, test } from 'vitest';
import type { Origin } from '../../../src/machine/hardware.js';
import type { MachineImage } from '../../../src/machine/machine-image.js';
import { goesOnAlone } from '../../../src/machine/revival.js';

const image = (vcpus: number): MachineImage =>
  ({ parts: { vcpus: new Array(vcpus).fill({}) } }) as unknown as MachineImage;
const config = (transport: 'pci' | 'mmio' = 'pci', prefault = false) =>
  ({ memory: { size: 2 ** 27, hugepages: 'thp', prefault }, transport }) as const;

test('a vCPU goes on by itself if nobody has to be waited for', () => {
  expect(goesOnAlone(config(), { image: image(1), clock: 'keep' })).toBe(true);
});

test.each<[string, ReturnType<typeof config>, Origin]>([
  ['the machine is new', config(), {}],
  ['it was reset', config(), { battery: { rtc: new Uint8Array(0) } }],
  ['it has others', config(), { image: image(2) }],
  ['its devices could make it wait for main', config('mmio'), { image: image(1) }],
  ['some of its memory is to be there before', config(), { image: image(1), prefault: [] }],
  ['all of its memory is to be there before', config('pci', true), { image: image(1) }],
  ['its memory comes from elsewhere', config(), { image: image(1), pages: {} as Origin['pages'] }],
])('but not where %s', (_, options, origin) => {
  expect(goesOnAlone(options, origin)).toBe(false);
});
