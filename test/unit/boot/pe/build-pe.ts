/** PE32+ files as `objcopy` and `ukify` lay them out, for tests; every number can be forged. */

export interface Section {
  readonly name: string;
  readonly data: Buffer | string;
  /** Forged header fields. */
  readonly offset?: number;
  readonly rawSize?: number;
  readonly virtualSize?: number;
}

const fileAlignment = 0x200;
const peOffset = 0x80;
const optionalSize = 0xf0;
const align = (value: number): number => Math.ceil(value / fileAlignment) * fileAlignment;

export function buildPe(sections: readonly Section[], machine = 0x8664): Buffer {
  const tableAt = peOffset + 24 + optionalSize;
  const header = Buffer.alloc(align(tableAt + sections.length * 40));
  header.write('MZ', 0, 'latin1');
  header.writeUInt32LE(peOffset, 0x3c);
  header.write('PE\0\0', peOffset, 'latin1');
  header.writeUInt16LE(machine, peOffset + 4);
  header.writeUInt16LE(sections.length, peOffset + 6);
  header.writeUInt16LE(optionalSize, peOffset + 20);
  header.writeUInt16LE(0x20b, peOffset + 24);
  const parts: Buffer[] = [header];
  let end = header.length;
  for (const [index, section] of sections.entries()) {
    const data = Buffer.from(section.data);
    const at = tableAt + index * 40;
    header.write(section.name, at, 8, 'latin1');
    header.writeUInt32LE(section.virtualSize ?? data.length, at + 8);
    header.writeUInt32LE(section.rawSize ?? align(data.length), at + 16);
    header.writeUInt32LE(section.offset ?? end, at + 20);
    const padded = Buffer.alloc(align(data.length));
    data.copy(padded);
    parts.push(padded);
    end += padded.length;
  }
  return Buffer.concat(parts);
}

/** A unified kernel image with these sections beside the stub's. */
export const buildUki = (sections: Readonly<Record<string, Buffer | string>>): Buffer =>
  buildPe([
    { name: '.text', data: Buffer.alloc(700, 0x90) },
    { name: '.sdmagic', data: '#### LoaderInfo: systemd-stub 252 ####' },
    ...Object.entries(sections).map(([name, data]) => ({ name, data })),
  ]);

export const systemdBoot = buildPe([
  { name: '.text', data: Buffer.alloc(900, 0x90) },
  { name: '.sdmagic', data: '#### LoaderInfo: systemd-boot 252.39-1~deb12u2 ####' },
]);
export const grubEfi = buildPe([
  { name: '.text', data: Buffer.alloc(900, 0x90) },
  { name: 'mods', data: 'x' },
]);
