/**
 * Live images on ISO 9660, made by the tools of their boot loaders: isolinux on an isohybrid by xorriso, and GRUB by
 * grub-mkrescue. Debian's kernel and initrd on them mount the image as their root and start its only program.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ensureDisk } from '../../scripts/lab/index.js';
import { findBootEntries } from '../../src/boot/disk-boot.js';
import { inspectionJson } from '../../src/boot/inspect.js';
import { ExitCode } from '../../src/cli/exit-codes.js';
import { openRawImage } from '../../src/disk/raw-image.js';
import { bootTimeout } from './support/disks.js';
import { full, openLab } from './support/lab.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-live-'));
afterAll(() => rmSync(folder, { recursive: true }));

const words = (label: string) => `root=LABEL=${label} ro quiet watchdog_thresh=60`;

interface LiveImage {
  readonly loader: string;
  readonly label: string;
  /** Files of the loader: its configuration, and what it needs of its own. */
  prepare(root: string): void;
  make(root: string, image: string): void;
  /** How the loader begins the kernel's command line. */
  readonly begins: string;
}

const write = (path: string, text: string): void => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
};

const isolinux: LiveImage = {
  loader: 'isolinux',
  label: 'TSVMM_ISOLINUX',
  prepare(root) {
    write(join(root, 'isolinux/isolinux.cfg'), 'include menu.cfg\nprompt 0\ntimeout 50\n');
    const entry = (name: string, kernel: string) =>
      `label ${name}\n  menu label ^${name}\n  linux ${kernel}\n  initrd /live/initrd.img\n  append ${words(this.label)}\n`;
    write(
      join(root, 'isolinux/menu.cfg'),
      `${entry('old', '/live/old')}${entry('live', '/live/vmlinuz')}default live\n`,
    );
    write(join(root, 'live/old'), 'no kernel');
    cpSync('/usr/lib/ISOLINUX/isolinux.bin', join(root, 'isolinux/isolinux.bin'));
    cpSync('/usr/lib/syslinux/modules/bios/ldlinux.c32', join(root, 'isolinux/ldlinux.c32'));
  },
  make(root, image) {
    const boot = ['-b', 'isolinux/isolinux.bin', '-c', 'isolinux/boot.cat', '-no-emul-boot', '-boot-load-size', '4'];
    const hybrid = ['-boot-info-table', '-isohybrid-mbr', '/usr/lib/ISOLINUX/isohdpfx.bin'];
    execFileSync('xorriso', [
      '-as',
      'mkisofs',
      '-quiet',
      '-R',
      '-V',
      this.label,
      ...boot,
      ...hybrid,
      '-o',
      image,
      root,
    ]);
  },
  begins: 'BOOT_IMAGE=/live/vmlinuz',
};

const grub: LiveImage = {
  loader: 'grub',
  label: 'TSVMM_GRUB',
  prepare(root) {
    const entry = (name: string, kernel: string) =>
      `menuentry "${name}" --id ${name} {\n  linux ${kernel} ${words(this.label)}\n  initrd /live/initrd.img\n}\n`;
    write(
      join(root, 'boot/grub/grub.cfg'),
      `search --no-floppy --set=root --label ${this.label}\nset default=live\nset timeout=5\n${entry('old', '/live/old')}${entry('live', '/live/vmlinuz')}`,
    );
    write(join(root, 'live/old'), 'no kernel');
  },
  make(root, image) {
    execFileSync('grub-mkrescue', ['-o', image, root, '--', '-volid', this.label], { stdio: 'pipe' });
  },
  begins: 'BOOT_IMAGE=/live/vmlinuz',
};

if (!full) console.log('skipped: live images boot: npm run test:full');
describe.skipIf(!full).each([isolinux, grub])('a live image with $loader', (live) => {
  test('boots, with itself as its root', async () => {
    const root = join(folder, live.loader);
    for (const name of ['dev', 'proc', 'sys', 'run', 'sbin', 'live']) mkdirSync(join(root, name), { recursive: true });
    const source = new URL('programs/live-init.c', import.meta.url).pathname;
    execFileSync('gcc', ['-static', '-O1', '-o', join(root, 'sbin/init'), source]);
    const disks = dirname(await ensureDisk('debian-bare'));
    for (const name of ['vmlinuz', 'initrd.img']) cpSync(join(disks, name), join(root, 'live', name));
    live.prepare(root);
    const image = join(folder, `${live.loader}.iso`);
    live.make(root, image);
    chmodSync(image, 0o444);

    {
      await using opened = await openRawImage(image);
      const { entries, defaultEntry, problems } = inspectionJson(await findBootEntries(opened));
      expect(problems).toEqual([]);
      expect(entries.find(({ number }) => number === defaultEntry)).toMatchObject({
        loader: live.loader,
        id: 'live',
        kernel: { partition: 0, path: '/live/vmlinuz' },
      });
    }
    await using lab = await openLab({ disks: false, copy: [{ from: image, to: '/root/' }] });
    const run = ['node', 'bin/tsvmm.js', 'run', `/root/${live.loader}.iso,readonly`, '-c', '2'];
    const { stdout, stderr, exitCode } = await lab.exec(run, { timeout: bootTimeout });
    expect({ exitCode, stderr, stdout: stdout.slice(-2000) }).toMatchObject({ exitCode: ExitCode.ok });
    expect(stdout).toMatch(/LIVE-ROOT \/dev\/vda1? \/ iso9660 ro/);
    expect(stdout).toContain(`LIVE-WORDS ${live.begins}`);
    expect(stdout).toMatch(new RegExp(`LIVE-WORDS .*${words(live.label)} .*console=ttyS0`));
  });
});
