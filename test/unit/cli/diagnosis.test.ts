/** Why a boot failed, from what consoles really showed (test/unit/cli/consoles), and what to try. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { commandWith } from '../../../src/cli/diagnosis/command.js';
import { diagnose, hasGivenUp } from '../../../src/cli/diagnosis/diagnose.js';
import { parseRun, type RunArguments } from '../../../src/cli/run-flags.js';
import { packageRoot } from '../../../src/host/addon.js';

const folder = join(packageRoot(), 'test/unit/cli/consoles');
const recorded = (name: string): string => readFileSync(join(folder, `${name}.txt`), 'latin1');
const given = (...argv: string[]): RunArguments => parseRun(argv)!;
const kernel = ['--kernel', 'vmlinuz', '--cmdline', 'console=ttyS0'];

/** scripts/local of Debian's initramfs-tools, and dracut: what they say and the prompts that they leave. */
const alert = `Gave up waiting for root file system device.  Common problems:
 - Boot args (cat /proc/cmdline)
   - Check rootdelay= (did the system wait long enough?)
 - Missing modules (cat /proc/modules; ls /dev)
ALERT!  /dev/nowhere does not exist.  Dropping to a shell!


BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) built-in shell (ash)
Enter 'help' for a list of built-in commands.

(initramfs) `;
const dracut = `[  190.000000] dracut-initqueue[341]: Warning: Could not boot.
Warning: /dev/disk/by-uuid/4af1 does not exist

Entering emergency mode. Exit the shell to continue.

dracut:/# `;

/** Of a console as it was recorded, of a guest that crashed. */
const why = (name: string, ...argv: string[]) =>
  diagnose({ given: given(...argv), consoleTail: name === '' ? '' : recorded(name), crashed: name !== '' });
const whyText = (consoleTail: string, ...argv: string[]) =>
  diagnose({ given: given(...argv), consoleTail, crashed: false });

describe('no root device', () => {
  test('a kernel alone, without disk and initrd', () => {
    expect(why('no-root', ...kernel)).toEqual({
      cause: 'the kernel has neither an initrd nor a disk',
      line: expect.stringContaining('VFS: Cannot open root device'),
      next: 'tsvmm run --kernel vmlinuz --cmdline console=ttyS0 DISK',
    });
  });
  test('a kernel with a disk that brings its own', () => {
    expect(
      why('no-root', 'my disk.img', '-m', '1G', '--kernel', 'vmlinuz', '--cmdline', 'root=/dev/vda1'),
    ).toMatchObject({
      cause: expect.stringContaining('no initrd that would load the driver'),
      next: "tsvmm run 'my disk.img' -m 1G",
    });
  });
  test('an initramfs that waits for one that is not there', () => {
    expect(whyText(alert, 'debian.img,readonly')).toEqual({
      cause: 'the root device that the boot entry names is not on the disk, or another disk is missing',
      line: 'ALERT!  /dev/nowhere does not exist.  Dropping to a shell!',
      next: 'tsvmm image inspect debian.img',
    });
    expect(whyText(alert, 'a.img', '--append', 'quiet root=/dev/nowhere')).toMatchObject({
      cause: 'the root device of --append is not on the disk',
      next: 'tsvmm run a.img --append quiet',
    });
  });
  test('over virtio-mmio, for which there may be no driver', () => {
    const mmio = ['debian.img', '--transport', 'mmio'];
    expect(whyText(alert, ...mmio)).toMatchObject({
      cause: 'the guest found no disk: its kernel, or its initrd, may have no driver for virtio-mmio',
      next: 'tsvmm run debian.img',
    });
    // The words that announce devices are no driver.
    expect(whyText(`Kernel command line: virtio_mmio.device=4K@0xfeb00000:5\n${alert}`, ...mmio)?.cause).toContain(
      'no driver',
    );
    for (const found of ['virtio_blk virtio0: [vda] 2097152', 'virtio-mmio: Registering device virtio-mmio.0'])
      expect(whyText(`[    1.0] ${found}\n${alert}`, ...mmio)?.cause).toContain('that the boot entry names');
    expect(whyText(alert, ...mmio, '--append', 'root=/dev/nowhere')?.cause).toContain('of --append');
  });
  test('over virtio-mmio, by a kernel that has ACPI and no PCI', () => {
    const tables =
      'ACPI Error: AE_BAD_PARAMETER, During Region initialization (20220331/tbxfload-52)\nACPI: Unable to load the System Description Tables\n';
    expect(
      whyText(
        `${tables}VFS: Cannot open root device "vda" or unknown-block(0,0): error -6\n`,
        ...kernel,
        '--transport',
        'mmio',
      ),
    ).toEqual({
      cause: expect.stringContaining('cannot read the ACPI tables'),
      line: 'ACPI: Unable to load the System Description Tables',
      next: "tsvmm run --transport mmio --kernel vmlinuz --cmdline 'console=ttyS0 acpi=off'",
    });
  });
  test('dracut', () => {
    expect(whyText(dracut, 'fedora.img')).toMatchObject({
      line: 'Warning: /dev/disk/by-uuid/4af1 does not exist',
      next: 'tsvmm image inspect fedora.img',
    });
  });
});

/** /init of Arch Linux's mkinitcpio, of Alpine's mkinitfs, and of Debian's live-boot. */
const arch = `:: running hook [udev]
Waiting 10 seconds for device /dev/disk/by-uuid/1234 ...
ERROR: device 'UUID=1234' not found. Skipping fsck.
:: mounting 'UUID=1234' on real root
mount: /new_root: can't find UUID=1234.
ERROR: Failed to mount 'UUID=1234' on real root
You are now being dropped into an emergency shell.
sh: can't access tty; job control turned off
[rootfs ~]# `;
const alpineShell = `initramfs emergency recovery shell launched. Type 'exit' to continue boot
sh: can't access tty; job control turned off
~ # `;
const alpine = `Mounting root: mount: mounting UUID=1234 on /sysroot failed: No such file or directory\nfailed. \n${alpineShell}`;
const alpineMedia = `Mounting boot media: failed. \n${alpineShell}`;
const live = `Unable to find a medium containing a live file system\nBusyBox v1.35.0\n(initramfs) `;

test.each([
  [arch, "ERROR: device 'UUID=1234' not found. Skipping fsck."],
  [arch.replace(/ERROR: .*\n/g, ''), '[rootfs ~]#'],
  [alpine, 'Mounting root: mount: mounting UUID=1234 on /sysroot failed: No such file or directory'],
  [alpineMedia, 'Mounting boot media: failed.'],
  [alpineShell, "initramfs emergency recovery shell launched. Type 'exit' to continue boot"],
  [live, 'Unable to find a medium containing a live file system'],
  [`[    0.8] Initramfs unpacking failed: Decoding failed\n${alert}`, alert.split('\n')[4]],
])('other initrds without their root: %j', (consoleTail, line) => {
  expect(whyText(consoleTail, 'a.img')).toEqual({
    cause: 'the root device that the boot entry names is not on the disk, or another disk is missing',
    line,
    next: 'tsvmm image inspect a.img',
  });
  expect(hasGivenUp(consoleTail)).toBe(true);
});

describe('a wrong initrd', () => {
  test('that was unpacked in part is to blame for what it did not find', () => {
    const consoleTail = `Initramfs unpacking failed: junk within compressed archive\n${alert}`;
    expect(whyText(consoleTail, 'a.img')?.cause).toContain('the initrd is damaged');
    expect(whyText('Initramfs unpacking failed: Decoding failed', 'a.img')?.cause).toContain('the initrd is damaged');
  });

  test.each(['initrd-random', 'initrd-cut', 'initrd-gzip'])('%s', (name) => {
    expect(why(name, 'a.img', ...kernel, '--initrd', 'wrong.img')).toMatchObject({
      cause: 'wrong.img is damaged, or not an initrd that this kernel can unpack',
      line: expect.stringContaining('Initramfs unpacking failed'),
      next: 'tsvmm run a.img',
    });
    expect(why(name, ...kernel, '--initrd', "it's.img")?.next).toBe(String.raw`file 'it'\''s.img'`);
    expect(why(name, 'a.img')?.next).toBe('tsvmm image inspect a.img');
  });
  test('an init that ends, named by the user', () => {
    expect(why('init-ended', 'a.img', '--append', 'quiet rdinit=/bin/false')).toMatchObject({
      cause: expect.stringContaining('rdinit='),
      line: expect.stringContaining('Attempted to kill init!'),
      next: 'tsvmm run a.img --append quiet',
    });
    expect(why('init-ended', 'a.img')?.cause).toBe('the kernel panicked');
  });
});

test('out of memory: twice as much, and enough', () => {
  expect(why('out-of-memory', 'a.img', '-m', '96M')).toEqual({
    cause: 'the guest ran out of memory: it has 96M',
    line: expect.stringContaining('Out of memory'),
    next: 'tsvmm run a.img -m 512M',
  });
  expect(why('out-of-memory', 'a.img', '-m', '1G')?.next).toBe('tsvmm run a.img -m 2048M');
});

describe('no output', () => {
  test('no console on the command line', () => {
    expect(why('', '--kernel', 'vmlinuz', '--cmdline', 'root=/dev/vda console=tty0', '--disk', 'a.img')).toEqual({
      cause: 'no console on the command line: the kernel has printed nothing that could be seen',
      next: "tsvmm run --disk a.img --kernel vmlinuz --cmdline 'root=/dev/vda console=tty0 console=ttyS0'",
    });
    expect(why('', '--kernel', 'vmlinuz', '--console', 'virtio')?.next).toContain("'console=ttyS0 console=hvc0'");
  });
  test('although there is one', () => {
    expect(why('', 'a.img')).toEqual({
      cause: 'the guest has printed nothing',
      next: "tsvmm run a.img --append 'earlyprintk=serial,ttyS0,115200 ignore_loglevel'",
    });
  });
});

test.each([
  ['\n\nXZ-compressed data is corrupt\n\n -- System halted', 'file is damaged'],
  ['This kernel requires an x86-64 CPU, but only detected an i686 CPU.', 'features of the CPU'],
  ['Kernel panic - not syncing: alloc_low_pages: can not alloc memory', 'ran out of memory'],
  [
    'Kernel panic - not syncing: initrd too large to handle, disabling initrd (36126720 needed, 10000 available)',
    'ran out of memory',
  ],
  ['Kernel panic - not syncing: Cannot find 4096 bytes in node -1: Failed to allocate memmap', 'ran out of memory'],
  ['You are in emergency mode. After logging in, type "journalctl -xb"', 'systemd gave up'],
  ['[    1.000000] Kernel panic - not syncing: Fatal exception in interrupt', 'the kernel panicked'],
])('%j', (consoleTail, cause) => {
  expect(diagnose({ given: given('a.img'), consoleTail, crashed: true })?.cause).toContain(cause);
});

test('a guest that went well is not diagnosed, nor one that may still go on', () => {
  const consoleTail = 'Debian GNU/Linux 12 debian ttyS0\r\n\r\ndebian login: ';
  expect(diagnose({ given: given('a.img'), consoleTail, crashed: false })).toBeUndefined();
  expect(hasGivenUp('[    1.000000] Run /init as init process\r\n')).toBe(false);
  for (const text of [alert, dracut, recorded('no-root')]) expect(hasGivenUp(text), text).toBe(true);
});

test('every recorded console has its test', () => {
  const text = readFileSync(new URL(import.meta.url), 'utf8');
  for (const name of readdirSync(folder)) expect(text).toContain(`'${name.replace('.txt', '')}'`);
});

describe('the command to try', () => {
  test.each([
    ['disk.img -m 1G --ephemeral', 'tsvmm run disk.img -m 1G --ephemeral'],
    ['--kernel=a\tb --cmdline=$(reboot)', "tsvmm run --kernel 'a\tb' --cmdline '$(reboot)'"],
  ])('%s', (argv, expected) => expect(commandWith(given(...argv.split(' ')))).toBe(expected));

  test('is parsed as what was given, whatever the words are', () => {
    const word = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !text.startsWith('-'));
    fc.assert(
      fc.property(word, word, fc.string({ maxLength: 12 }), fc.boolean(), (disk, more, append, ephemeral) => {
        const before = given(disk, '--disk', more, `--append=${append}`, ...(ephemeral ? ['--ephemeral'] : []));
        expect(parseRun(shellWords(commandWith(before)).slice(2))).toEqual(before);
      }),
    );
  });
});

/** What a shell makes of words with plain and single quoted parts. */
function shellWords(command: string): string[] {
  const words = command.match(/(?:[^\s'\\]|\\.|'[^']*')+/gs) ?? [];
  return words.map((word) =>
    word.replace(/'([^']*)'|\\(.)|([^'\\]+)/gs, (_, quoted, escaped, plain) => quoted ?? escaped ?? plain),
  );
}

test('whatever a guest prints, the guess ends, and without an error', () => {
  const piece = fc.constantFrom(
    'ALERT!',
    'does not exist',
    '\n',
    ' ',
    '(initramfs)',
    'Warning:',
    '/dev/',
    'x',
    '[#:',
    '\x1b[2J',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
      const consoleTail = pieces.join('').repeat(20);
      diagnose({ given: given('a.img'), consoleTail, crashed: true });
      hasGivenUp(consoleTail);
    }),
  );
  for (const hostile of ['ALERT! '.repeat(9000), 'Warning:'.repeat(8000), '[#:'.repeat(20_000), ' '.repeat(65_536)]) {
    diagnose({ given: given('a.img'), consoleTail: hostile, crashed: true });
    hasGivenUp(hostile);
  }
});
