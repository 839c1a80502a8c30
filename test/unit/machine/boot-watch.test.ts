/** What a console's text says of a boot. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BootWatch, type Milestone } from '../../../src/machine/boot-watch.js';

function watch() {
  const milestones: Milestone[] = [];
  const panics: string[] = [];
  const boot = new BootWatch({
    milestone: (milestone) => milestones.push(milestone),
    panic: (message) => panics.push(message),
  });
  return { boot, milestones, panics, see: (text: string) => boot.see(Buffer.from(text, 'latin1')) };
}

const debian = [
  '[    0.000000] Linux version 6.1.0-13-cloud-amd64 (debian-kernel@lists.debian.org)\r\n',
  '[    1.250000] Run /init as init process\r\n',
  'Loading, please wait...\r\n',
  '[    2.500000] EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.\r\n',
  '[    3.750000] systemd[1]: systemd 252.17-1 running in system mode (+PAM)\r\nWelcome to Debian!\r\n',
  '[    4.000000] EXT4-fs (vda1): re-mounted. Quota mode: none.\r\n',
  '\r\nDebian GNU/Linux 12 debian hvc0\r\n\r\ndebian login: ',
].join('');
const expected = [
  { name: 'guest: kernel', guestMs: 0 },
  { name: 'guest: initramfs', guestMs: 1250 },
  { name: 'guest: root mounted', guestMs: 2500 },
  { name: 'guest: init', guestMs: 3750 },
  { name: 'guest: login prompt' },
];

test('the milestones of a Debian, however its console was cut', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: debian.length }), { maxLength: 20 }), (cuts) => {
      const { see, milestones } = watch();
      const ends = [0, ...cuts.sort((a, b) => a - b), debian.length];
      for (let i = 1; i < ends.length; i++) see(debian.slice(ends[i - 1], ends[i]));
      expect(milestones).toEqual(expected);
    }),
  );
});

test('what a quiet boot does not say is left out', () => {
  const { see, milestones } = watch();
  see('\r\nubuntu login: ');
  expect(milestones).toEqual([{ name: 'guest: login prompt' }]);
});

test('a login prompt is one at the end of a line only', () => {
  const { see, milestones } = watch();
  see('Last login: Mon Nov 20 on ttyS0\r\n');
  expect(milestones).toEqual([]);
});

describe('a panic', () => {
  const panic = '[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n';
  const message = 'VFS: Unable to mount root fs on unknown-block(0,0)';

  test('is told once, with its words, and stands while only the kernel speaks', () => {
    const { boot, see, panics } = watch();
    see(panic.slice(0, 30));
    see(`${panic.slice(30)}[    1.100000] Call Trace:\r\n[    1.100000]  dump_stack\r\n`);
    see(`[    1.200000] ---[ end Kernel panic - not syncing: ${message} ]---\r\n`);
    expect([panics, boot.panic]).toEqual([[message], message]);
  });
  test('does not stand when somebody speaks after it', () => {
    const { boot, see } = watch();
    see(panic);
    expect(boot.panic).toBe(message);
    see('root@debian:~# ls\r\n');
    expect(boot.panic).toBeUndefined();
  });
  test('is seen after the boot, too, also when it comes in pieces', () => {
    const { boot, see, panics } = watch();
    see(debian);
    see('root\r\n');
    see(`${'x'.repeat(3000)}\r\nnothing\r\n${panic.slice(0, 30)}`);
    see(panic.slice(30));
    expect([panics, boot.panic]).toEqual([[message], message]);
  });
});

test('T38: whatever a guest prints, and without an end of line, takes bounded memory and no error', () => {
  const { boot } = watch();
  const line = Buffer.alloc(64 * 1024, 0x5b);
  for (let i = 0; i < 1000; i++) boot.see(line);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => watch().boot.see(Buffer.from(bytes))));
});

/** Chunks that made a line-by-line look expensive: none takes main more than a moment, before the boot, after it, or after a panic. */
test.each([
  ['carriage returns', `${'\r'.repeat(1022)}x\n`],
  ['empty lines', '\n'],
  ['short lines', 'x\n'],
  ['lines of the kernel', '[    1.000000] x\n'],
  ['ends of panics', '---[ end Kernel panic - not syncing: x ]---\n'],
  ['panics', '[    1.000000] Kernel panic - not syncing: x\n'],
  ['panics in one line', 'Kernel panic - not syncing: '],
  ['beginnings of milestones', 'Run /Run /x systemd[1]: systemd '],
  ['prompts', ' login:  login: '],
])('T38: %s take time in proportion to their length', (_, line) => {
  const panic = '[    1.000000] Kernel panic - not syncing: x\n';
  for (const before of ['', panic, `debian login: `, `debian login: ${panic}`]) {
    const { boot, see } = watch();
    see(before);
    const chunk = Buffer.from(line.repeat(Math.ceil((64 * 1024) / line.length)), 'latin1');
    const { user: begun } = process.cpuUsage();
    for (let i = 0; i < 64; i++) boot.see(chunk); // 4 MiB
    // The quadratic look took 2 s and more for this; no processor is so slow that a linear one does.
    expect(process.cpuUsage().user - begun).toBeLessThan(1_500_000);
  }
});
