/**
 * The zero page as the kernel's own header declares it: a C program with <asm/bootparam.h> reads what we wrote.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildBootImage } from '../../../../src/boot/linux/build.js';
import { buildAcpiTables } from '../../../../src/boot/x86/acpi/tables.js';
import { ramRegions } from '../../../../src/devices/memory-map.js';
import { fakeBzImage } from './kernels.js';

const program = `
#include <stdio.h>
#include <stdint.h>
#include <asm/bootparam.h>
int main(void) {
  static struct boot_params p;
  if (sizeof p != 4096 || fread(&p, sizeof p, 1, stdin) != 1) return 1;
  printf("{\\"loader\\":%u,\\"flags\\":%u,\\"vid\\":%u,\\"cmdline\\":%u,\\"ramdisk\\":%u,\\"size\\":%u,\\"setup\\":%llu,\\"rsdp\\":%llu,\\"align\\":%u,\\"code32\\":%u,\\"ext\\":[%u,%u,%u],\\"sentinel\\":%u,\\"e820\\":[",
    p.hdr.type_of_loader, p.hdr.loadflags, p.hdr.vid_mode, p.hdr.cmd_line_ptr, p.hdr.ramdisk_image, p.hdr.ramdisk_size,
    (unsigned long long) p.hdr.setup_data, (unsigned long long) p.acpi_rsdp_addr, p.hdr.kernel_alignment, p.hdr.code32_start,
    p.ext_ramdisk_image, p.ext_ramdisk_size, p.ext_cmd_line_ptr, p.sentinel);
  for (int i = 0; i < p.e820_entries; i++)
    printf("%s[%llu,%llu,%u]", i ? "," : "", (unsigned long long) p.e820_table[i].addr, (unsigned long long) p.e820_table[i].size, p.e820_table[i].type);
  printf("]}");
  return 0;
}`;

const missing =
  spawnSync('gcc', ['--version']).status !== 0
    ? 'gcc is not installed'
    : !['/usr/include/asm/bootparam.h', '/usr/include/x86_64-linux-gnu/asm/bootparam.h'].some(existsSync)
      ? 'linux-libc-dev is not installed, or this is not an x86 host'
      : undefined;
if (missing !== undefined) console.warn(`skipped: ${missing}`);

test.skipIf(missing !== undefined)('struct boot_params, read by C', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-bootparam-'));
  try {
    writeFileSync(join(folder, 'read.c'), program);
    execFileSync('gcc', ['-O0', '-o', join(folder, 'read'), join(folder, 'read.c')]);
    const ram = [...ramRegions(20 * 1024 ** 2), { start: 2 ** 32, size: 64 * 1024 ** 2 }];
    const acpi = buildAcpiTables({ apicIds: [0], generation: new Uint8Array(16) });
    const initrd = Buffer.alloc(30 * 1024 ** 2); // lands above 4 GiB
    const image = buildBootImage({ kernel: fakeBzImage(), initrd, cmdline: 'x', ram, acpi });
    const at = (name: string): number => image.segments.find((s) => s.name === name)!.address;
    const page = image.segments.find((s) => s.name === 'zero page')!.data;
    const read = JSON.parse(execFileSync(join(folder, 'read'), { input: page }).toString());
    expect(read).toEqual({
      loader: 0xff,
      flags: 1,
      vid: 0xffff,
      cmdline: at('command line'),
      ramdisk: at('initrd') - 2 ** 32,
      size: initrd.length,
      setup: at('setup data'),
      rsdp: acpi.rsdp,
      align: 0x20_0000,
      code32: at('kernel'),
      ext: [1, 0, 0],
      sentinel: 0,
      e820: [
        [0, 0x9_fc00, 1],
        [0x9_fc00, 0x6_0400, 2],
        [0x10_0000, 19 * 1024 ** 2, 1],
        [0xe000_0000, 0x10_0000, 2],
        [0xfffb_c000, 0x4000, 2],
        [2 ** 32, 64 * 1024 ** 2, 1],
      ],
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
