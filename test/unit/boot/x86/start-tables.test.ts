import { expect, test } from 'vitest';
import { bootSelectors, buildGdt, gdtLimit } from '../../../../src/boot/x86/gdt.js';
import { buildPageTables, pageTablesSize } from '../../../../src/boot/x86/page-tables.js';

/** What a CPU makes of a code or data descriptor (Intel SDM vol. 3A §3.4.5). */
function descriptor(table: Uint8Array, selector: number): Record<string, number> {
  const view = new DataView(table.buffer);
  const [low, high] = [view.getUint32(selector, true), view.getUint32(selector + 4, true)];
  return {
    base: (low >>> 16) + ((high & 0xff) << 16) + (high & 0xff00_0000),
    limit: (low & 0xffff) + (high & 0xf_0000),
    type: (high >>> 8) & 0xf,
    s: (high >>> 12) & 1,
    dpl: (high >>> 13) & 3,
    p: (high >>> 15) & 1,
    l: (high >>> 21) & 1,
    db: (high >>> 22) & 1,
    g: (high >>> 23) & 1,
  };
}

test('the descriptor table: flat code and data, code of the mode asked for', () => {
  const flat = { base: 0, limit: 0xf_ffff, s: 1, dpl: 0, p: 1, g: 1 };
  const long = buildGdt('long64');
  expect(long.length).toBe(gdtLimit + 1);
  expect(descriptor(long, bootSelectors.code)).toEqual({ ...flat, type: 11, l: 1, db: 0 });
  expect(descriptor(long, bootSelectors.data)).toEqual({ ...flat, type: 3, l: 0, db: 1 });
  const pvh = buildGdt('pvh32');
  expect(descriptor(pvh, bootSelectors.code)).toEqual({ ...flat, type: 11, l: 0, db: 1 });
  expect(descriptor(pvh, bootSelectors.data)).toEqual({ ...flat, type: 3, l: 0, db: 1 });
  expect(descriptor(pvh, bootSelectors.task)).toMatchObject({ base: 0, limit: 0x67, type: 11, s: 0, p: 1, g: 0 });
  expect([...pvh.subarray(0, 8)]).toEqual(Array(8).fill(0));
});

test('the page tables map the first 4 GiB to itself, writable, and nothing else', () => {
  const base = 0x9000;
  const tables = buildPageTables(base);
  expect(tables.length).toBe(pageTablesSize);
  const view = new DataView(tables.buffer);
  const entry = (table: number, index: number): bigint => {
    expect(table % 4096).toBe(0);
    return view.getBigUint64(table - base + index * 8, true);
  };
  const walk = (address: number): number | undefined => {
    let table = base;
    for (const shift of [39, 30, 21]) {
      const e = entry(table, Math.floor(address / 2 ** shift) % 512);
      if ((e & 1n) === 0n) return undefined;
      expect(e & 2n).toBe(2n);
      if (shift === 21) {
        expect(e & 0x80n).toBe(0x80n);
        return Number(e & 0xf_ffff_ffe0_0000n) + (address % 2 ** 21);
      }
      table = Number(e & 0xf_ffff_ffff_f000n);
    }
    return undefined;
  };
  for (let address = 0; address < 2 ** 32; address += 2 ** 21) {
    const inside = address + (((address / 2 ** 21) * 4099) % 2 ** 21);
    if (walk(inside) !== inside) expect(walk(inside)).toBe(inside);
  }
  expect(walk(2 ** 32)).toBeUndefined();
  expect(walk(2 ** 39)).toBeUndefined();
});
