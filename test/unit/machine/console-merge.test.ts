/** Two ports, one stream: kernel messages once, everything else untouched. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConsoleMerge, type PortIndex } from '../../../src/machine/console-merge.js';

const serial = 0;
const virtio = 1;

/** What is shown of `[port, text]` pieces, in their order, and at the end. */
function merged(...pieces: [PortIndex, string][]): string {
  const merge = new ConsoleMerge();
  const shown = pieces.map(([port, text]) => merge.take(port, Buffer.from(text, 'latin1')));
  return Buffer.concat([...shown, merge.release(serial), merge.release(virtio)]).toString('latin1');
}
const stamped = (seconds: number, text: string): string => `[${seconds.toFixed(6).padStart(12)}] ${text}\r\n`;

describe('kernel messages', () => {
  const log = [0, 0.5, 1.25, 12.000001, 12345.9].map((at, i) => stamped(at, `message ${i}`)).join('');

  test('replayed by the console that is registered later are shown once', () => {
    expect(merged([serial, log], [virtio, log + stamped(13, 'printk: console [hvc0] enabled')])).toBe(
      log + stamped(13, 'printk: console [hvc0] enabled'),
    );
  });
  test('on both ports are shown once, whichever comes first', () => {
    const one = stamped(1, 'one');
    const two = stamped(2, 'two');
    expect(merged([serial, one], [virtio, one + two], [serial, two])).toBe(one + two);
  });
  test('with other line ends, or behind a prompt, are the same', () => {
    expect(merged([serial, stamped(1, 'x')], [virtio, 'login: '], [virtio, '[    1.000000] x\n'])).toBe(
      `${stamped(1, 'x')}login: `,
    );
  });
  test('of a kernel with CONFIG_PRINTK_CALLER are recognised', () => {
    const line = '[    1.000000][    T1] one\r\n';
    expect(merged([serial, line], [virtio, line])).toBe(line);
  });
  test('that one port says twice are shown twice', () => {
    const line = stamped(1, 'again');
    expect(merged([serial, line + line])).toBe(line + line);
  });
  test('of a guest that speaks on one port only take bounded memory, and the newest are known', () => {
    const merge = new ConsoleMerge();
    const line = (i: number): Buffer => Buffer.from(stamped(i, 'x'.repeat(200)));
    for (let i = 0; i < 20_000; i++) merge.take(serial, line(i));
    expect(merge.take(virtio, line(19_999)).length).toBe(0);
    expect(merge.take(virtio, line(0)).length).toBeGreaterThan(0);
  });
});

describe('everything else', () => {
  test.each([
    'login: ',
    '[  OK  ] Started Something.\r\n',
    '[y/n] ',
    '\x1b[31mred\x1b[0m \x1b[',
    '[12/30] working\r',
    'a [1.2] b\n',
    '[    1.000000]\n',
  ])('%j is shown from both ports', (text) => {
    expect(merged([serial, text], [virtio, text])).toBe(text + text);
  });
  test('an escape sequence is not held back', () => {
    const merge = new ConsoleMerge();
    expect(merge.take(virtio, Buffer.from('\x1b[')).toString()).toBe('\x1b[');
    expect(merge.holds).toBe(false);
  });
  test('T38: a line without end that begins as a message is not kept for ever', () => {
    const merge = new ConsoleMerge();
    expect(merge.take(serial, Buffer.from(`[    1.000000] ${'x'.repeat(5000)}`)).length).toBeGreaterThan(5000);
    expect(merge.holds).toBe(false);
  });
});

test('the two consoles of a Debian 12: one login, each kernel message once, all that systemd says', () => {
  const [ttyS0, hvc0] = ['ttyS0', 'hvc0'].map((name) =>
    readFileSync(new URL(`consoles/debian-${name}.txt`, import.meta.url), 'latin1'),
  ) as [string, string];
  const stamps = (text: string) => text.match(/\[ {0,4}\d+\.\d{6}\] [^\r\n]*/g) ?? [];
  expect(stamps(ttyS0).filter((line) => hvc0.includes(line)).length).toBeGreaterThan(30);
  for (const shown of [merged([serial, ttyS0], [virtio, hvc0]), merged([virtio, hvc0], [serial, ttyS0])]) {
    expect([...stamps(shown)].sort()).toEqual([...new Set([...stamps(ttyS0), ...stamps(hvc0)])].sort());
    expect(shown.match(/ login: /g)).toHaveLength(1);
    for (const line of hvc0.split('\r\n').filter((each) => !each.includes('] '))) expect(shown).toContain(line);
  }
});

test('of one port every byte comes out in its order, however it was cut', () => {
  const piece = fc.oneof(
    fc.constantFrom('[', '[    ', '1.000000', '] ', '[    1.000000] x', '\r\n', '\n', '\x1b[', 'login: ', '[1', '\xff'),
    fc.string({ maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = Buffer.from(pieces.join(''), 'latin1').toString('latin1');
      expect(merged(...pieces.map((part): [PortIndex, string] => [serial, part]))).toBe(text);
    }),
  );
});

test('a log is shown once however the two ports are cut and interleaved', () => {
  const log = Array.from({ length: 12 }, (_, i) => stamped(i / 3, `message ${i}`));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(serial, virtio), fc.nat({ max: 60 })), { maxLength: 60 }), (cuts) => {
      const text = log.join('');
      const left = [text, text];
      const pieces: [PortIndex, string][] = [...cuts, [serial, text.length], [virtio, text.length]].map(([port, n]) => {
        const part = left[port!]!.slice(0, n);
        left[port!] = left[port!]!.slice(n);
        return [port as PortIndex, part];
      });
      const shown = merged(...pieces);
      expect(shown.split('\r\n').sort()).toEqual(text.split('\r\n').sort());
    }),
  );
});
