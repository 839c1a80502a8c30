/** Every structure that TypeScript lays out itself, compared with the C headers that the addon was compiled with. */
import { describe, expect, it } from 'vitest';
import { native } from '../../../src/host/addon.js';
import * as ioUring from '../../../src/host/io-uring-layout.js';
import type { Struct } from '../../../src/host/layout.js';
import * as kvm from '../../../src/kvm/structs.js';

const isStruct = (value: unknown): value is Struct =>
  typeof value === 'object' && value !== null && 'offset' in value && 'size' in value && 'align' in value;

const declared = new Map(
  [...Object.values(kvm), ...Object.values(ioUring)].filter(isStruct).map((layout) => [layout.name, layout]),
);
const header = native().layouts();

describe('layouts', () => {
  it('are declared for exactly the structures that the headers were asked for', () => {
    expect(declared.size).toBeGreaterThan(20);
    expect([...declared.keys()].sort()).toEqual(Object.keys(header).sort());
  });

  it.each([...declared.values()])('$name is as the C compiler lays it out', ({ name, size, offset }) => {
    const compiled = header[name]!;
    expect(size).toBe(compiled.size);
    expect(Object.keys(compiled.offsets).length).toBeGreaterThan(0);
    expect(offset).toMatchObject(compiled.offsets);
  });
});
