/**
 * The loaders and the kernel that this host has installed (Debian: linux-image-cloud-amd64), as bzImage and, unpacked, as
 * the vmlinux inside it.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildBootImage } from '../../../../src/boot/linux/build.js';
import { ramRegions } from '../../../../src/devices/memory-map.js';
import { refusal } from './kernels.js';

const MIB = 1024 * 1024;
const folder = '/boot';

function installedKernel(): string | undefined {
  try {
    const names = readdirSync(folder).filter((name) => /^vmlinuz-.*-cloud-amd64$/.test(name));
    return names.length === 0 ? undefined : `${folder}/${names.sort().at(-1)}`;
  } catch {
    return undefined;
  }
}

const path = installedKernel();
if (path === undefined)
  console.warn('skipped: no vmlinuz-*-cloud-amd64 in /boot (apt install linux-image-cloud-amd64)');

describe.skipIf(path === undefined)('an installed Debian kernel', () => {
  let kernel: Buffer;
  const build = (file: Buffer, memory = 512 * MIB): ReturnType<typeof buildBootImage> =>
    buildBootImage({ kernel: file, initrd: Buffer.alloc(14 * MIB), cmdline: 'console=ttyS0', ram: ramRegions(memory) });

  beforeAll(() => {
    kernel = readFileSync(path!);
  });

  test('is a bzImage of the version its name says, loaded at 16 MiB', () => {
    const image = build(kernel);
    expect(image.description).toBe(`bzImage ${path!.replace(`${folder}/vmlinuz-`, '')}, 64-bit entry`);
    const code = image.segments.find((s) => s.name === 'kernel')!;
    expect(code.address).toBe(16 * MIB);
    expect(image.entry).toMatchObject({ mode: 'long64', rip: 16 * MIB + 0x200 });
    expect(image.segments.find((s) => s.name === 'initrd')!.address).toBe(498 * MIB);
  });

  test('has, at the 64-bit entry, the instruction with which Linux begins: cld', () => {
    const code = build(kernel).segments.find((s) => s.name === 'kernel')!;
    expect([...code.data.subarray(0x200, 0x210)]).toContain(0xfc);
  });

  test('is refused with what it needs in a machine of 48 MiB', () => {
    const error = refusal(() => build(kernel, 48 * MIB));
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.details!['neededBytes']).toBeGreaterThan(48 * MIB);
    expect(() => build(kernel, error.details!['neededBytes'] as number)).not.toThrow();
  });

  test('is refused if its download was cut off', () => {
    expect(refusal(() => build(kernel.subarray(0, kernel.length - MIB))).message).toContain('damaged');
  });

  test('unpacked is a vmlinux with a PVH entry', (context) => {
    const vmlinux = unpack(kernel);
    if (vmlinux === undefined) return context.skip('no tool for its compression');
    const image = build(vmlinux);
    expect(image.description).toMatch(/^ELF64 kernel, PVH entry at 0x1[0-9a-f]{6}$/);
    expect(image.segments.filter((s) => s.name.startsWith('kernel segment')).length).toBeGreaterThan(2);
  });

  test('unpacked and without its PVH note is a vmlinux with a 64-bit entry at 16 MiB', (context) => {
    const vmlinux = unpack(kernel);
    if (vmlinux === undefined) return context.skip('no tool for its compression');
    const note = Buffer.from('04000000080000001200000058656e00', 'hex');
    const at = vmlinux.indexOf(note);
    expect(at).toBeGreaterThan(0);
    vmlinux.writeUInt32LE(0, at + 8);
    expect(build(vmlinux).entry).toMatchObject({ mode: 'long64', rip: 16 * MIB });
  });
});

/** The ELF file inside a bzImage (boot protocol §1.3, "payload_offset"), if it is compressed with a tool that is here. */
function unpack(bzImage: Buffer): Buffer | undefined {
  const start = (bzImage.readUInt8(0x1f1) + 1) * 512 + bzImage.readUInt32LE(0x248);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c));
  const tools: Record<string, string> = { '02214c18': 'lz4', fd377a58: 'xz', '28b52ffd': 'zstd' };
  const tool = tools[payload.toString('hex', 0, 4)];
  if (tool === undefined) return undefined;
  const size = payload.readUInt32LE(payload.length - 4); // appended by the kernel's build
  const { stdout } = spawnSync(tool, ['-dc'], { input: payload.subarray(0, -4), maxBuffer: size + MIB });
  return stdout?.length === size ? stdout : undefined;
}
