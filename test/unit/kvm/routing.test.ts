import { expect, test } from 'vitest';
import { buildRouting } from '../../../src/kvm/routing.js';
import { KvmIrqRouting, KvmIrqRoutingEntry } from '../../../src/kvm/structs.js';

function decode(table: Uint8Array) {
  const view = new DataView(table.buffer);
  const count = view.getUint32(KvmIrqRouting.offset.nr, true);
  expect(table.length).toBe(KvmIrqRouting.size + count * KvmIrqRoutingEntry.size);
  return Array.from({ length: count }, (_, i) => {
    const word = (offset: number): number =>
      view.getUint32(KvmIrqRouting.size + i * KvmIrqRoutingEntry.size + offset, true);
    return { gsi: word(0), type: word(4), u: [word(16), word(20), word(24)] };
  });
}

test('legacy lines always keep their routes beside MSI', () => {
  const entries = decode(buildRouting([{ gsi: 24, addressLow: 0xfee0_0000, addressHigh: 0, data: 0x41 }]));
  expect(entries.find(({ gsi, type }) => gsi === 24 && type === 2)?.u).toEqual([0xfee0_0000, 0, 0x41]);
  const routes = (gsi: number) => entries.filter((entry) => entry.gsi === gsi).map(({ u }) => u.slice(0, 2));
  expect(routes(0)).toEqual([
    [0, 0],
    [2, 2],
  ]); // PIC master 0 and IOAPIC pin 2
  expect(routes(2)).toEqual([]);
  expect(routes(4)).toEqual([
    [0, 4],
    [2, 4],
  ]);
  expect(routes(9)).toEqual([
    [1, 1],
    [2, 9],
  ]);
  expect(routes(23)).toEqual([[2, 23]]);
});
