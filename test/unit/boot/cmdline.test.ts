/** The command line that a guest gets. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { guestCmdline } from '../../../src/boot/cmdline.js';

const ttyS0 = { console: 'ttyS0' } as const;
const hvc0 = { console: 'hvc0' } as const;
const login =
  'systemd.wants=serial-getty@hvc0.service systemd.mask=serial-getty@ttyS0.service modules_load=virtio_console';

describe('the console', () => {
  test.each([
    ['', 'console=ttyS0'],
    ['root=/dev/vda1 ro quiet', 'root=/dev/vda1 ro quiet console=ttyS0'],
    ['console=tty0 quiet', 'console=tty0 quiet console=ttyS0'],
    ['console=ttyS0 console=tty0', 'console=ttyS0 console=tty0'],
    ['console=ttyS0,115200n8 ro', 'console=ttyS0,115200n8 ro'],
    ['"console=ttyS0" ro', '"console=ttyS0" ro'],
    ['console=ttyS01', 'console=ttyS01 console=ttyS0'],
    ['earlyconsole=ttyS0', 'earlyconsole=ttyS0 console=ttyS0'],
    ['a="x console=ttyS0 y"', 'a="x console=ttyS0 y" console=ttyS0'],
    ['quiet --', 'quiet console=ttyS0'],
    ['quiet -- console=ttyS0', 'quiet console=ttyS0 -- console=ttyS0'],
    ['quiet --- splash', 'quiet --- splash console=ttyS0'],
    ['a="never closed', 'a="never closed" console=ttyS0'],
    ['  a \t b\n', 'a b console=ttyS0'],
  ])('%j', (base, expected) => expect(guestCmdline(base, ttyS0)).toBe(expected));

  test('none is added unless asked for', () => expect(guestCmdline('quiet')).toBe('quiet'));
});

describe('a virtio console comes after the serial port, with its driver and a login', () => {
  test.each([
    ['ro quiet', 'ro quiet console=ttyS0 console=hvc0 LOGIN'],
    ['console=tty0 console=ttyS0,115200 ro', 'console=tty0 console=ttyS0,115200 ro console=hvc0 LOGIN'],
    ['console=hvc0 ro', 'console=hvc0 ro LOGIN'],
    ['ro modules_load=virtio_console', 'ro modules_load=virtio_console console=ttyS0 console=hvc0 WANTS'],
    ['ro modules_load=nbd', 'ro modules_load=nbd console=ttyS0 console=hvc0 LOGIN'],
    ['ro -- x', 'ro console=ttyS0 console=hvc0 LOGIN -- x'],
  ])('%j', (base, expected) => {
    const words = expected.replace('LOGIN', login).replace('WANTS', login.split(' ').slice(0, 2).join(' '));
    expect(guestCmdline(base, hvc0)).toBe(words);
    expect(guestCmdline(words, hvc0)).toBe(words);
  });

  test("the user's own console is the last one", () =>
    expect(guestCmdline('ro', { ...hvc0, append: 'console=ttyS0' })).toBe(`ro console=hvc0 ${login} console=ttyS0`));
});

describe('boot.append', () => {
  test.each([
    ['ro', 'single', 'ro console=ttyS0 single'],
    ['ro', 'console=hvc0', 'ro console=ttyS0 console=hvc0'],
    ['ro', 'console=ttyS0,9600', 'ro console=ttyS0,9600'],
    ['ro -- one', 'quiet -- two', 'ro console=ttyS0 quiet -- one two'],
    ['ro', 'a="b  c"', 'ro console=ttyS0 a="b  c"'],
  ])('%j with %j', (base, append, expected) => expect(guestCmdline(base, { ...ttyS0, append })).toBe(expected));
});

test('a NUL is refused, naming who brought it', () => {
  expect(() => guestCmdline('a\0b')).toThrow('the command line of the boot entry contains a NUL character');
  expect(() => guestCmdline('a', { append: '\0' })).toThrow(
    expect.objectContaining({ code: 'ERR_TSVMM_CONFIG', message: expect.stringContaining('boot.append') }),
  );
});

test('nothing is removed, and doing it twice changes nothing', () => {
  const word = fc.constantFrom(
    'ro',
    'quiet',
    'console=tty0',
    'console=ttyS0',
    'a="b c"',
    'root=/dev/vda1',
    '"',
    '--',
    'x\ty',
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      const base = words.join(' ');
      const once = guestCmdline(base, ttyS0);
      expect(guestCmdline(once, ttyS0)).toBe(once);
      for (const part of base.split(/["\s]+/)) expect(once).toContain(part === '--' ? '' : part);
    }),
  );
});
