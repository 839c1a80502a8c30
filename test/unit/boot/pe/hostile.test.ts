/** PE files and entries made to confuse: each is read, refused with one clear error, or no image at all. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countedName } from '../../../../src/boot/bls/boot-counter.js';
import { matchesGlob } from '../../../../src/boot/bls/pattern.js';
import { parseSnippet } from '../../../../src/boot/bls/snippet.js';
import { findEntries } from '../../../../src/boot/entries/find-entries.js';
import { type PeSource, readPe } from '../../../../src/boot/pe/pe.js';
import { readUki } from '../../../../src/boot/pe/uki.js';
import { TsvmmError } from '../../../../src/errors.js';
import { memoryVolume } from '../grub/memory-file-system.js';
import { buildPe, buildUki } from './build-pe.js';

/** Refuses what is outside the file, as a disk does, and counts what is read. */
class Source implements PeSource {
  readonly size: number;
  bytesRead = 0;
  readonly #content: Buffer;
  constructor(content: Buffer) {
    this.#content = content;
    this.size = content.length;
  }
  async read(offset: number, length: number): Promise<Buffer> {
    if (offset < 0 || length < 0 || offset + length > this.size) throw new RangeError(`${length} bytes at ${offset}`);
    this.bytesRead += length;
    return this.#content.subarray(offset, offset + length);
  }
}

const image = buildUki({
  '.osrel': 'ID=x\nPRETTY_NAME="X"\n',
  '.cmdline': 'quiet',
  '.linux': Buffer.alloc(300_000, 'k'),
  '.initrd': Buffer.alloc(200_000, 'i'),
  '.profile': 'ID=main\n',
});

test('a changed image costs little and fails with a clear error', async () => {
  const change = fc.tuple(fc.nat(0x400), fc.oneof(fc.nat(255), fc.constantFrom(0, 255, 0x80)));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat(600_000), async (changes, length) => {
      const forged = Buffer.from(image.subarray(0, Math.max(1, length)));
      for (const [at, value] of changes) if (at < forged.length) forged[at] = value;
      const source = new Source(forged);
      try {
        const uki = await readUki(source);
        for (const { linux, initrds } of uki ?? [])
          for (const { offset, size } of [linux, ...initrds]) expect(offset + size).toBeLessThanOrEqual(forged.length);
      } catch (error) {
        if (!(error instanceof TsvmmError)) throw error;
        expect(error.code).toBe('ERR_TSVMM_BOOT_KERNEL');
      }
      expect(source.bytesRead).toBeLessThan(1 << 20);
    }),
    { numRuns: 300 },
  );
});

test('looking into an image does not read its kernel', async () => {
  const source = new Source(image);
  expect(await readUki(source)).toHaveLength(1);
  expect(source.bytesRead).toBeLessThan(2048);
});

test('an empty section is empty wherever it claims to be', async () => {
  const cmdline = { name: '.cmdline', data: 'quiet' };
  const linux = { name: '.linux', data: 'kernel' };
  const { sections } = (await readPe(new Source(buildPe([cmdline, linux]))))!;
  for (const offset of [0xffff_ff00, sections[0]!.offset]) {
    const empty = { name: '.osrel', data: '', offset, rawSize: 512 };
    const uki = (await readUki(new Source(buildPe([cmdline, empty, linux]))))!;
    expect(uki[0].cmdline).toBe('quiet');
    expect(uki[0].osRelease).toEqual(new Map());
  }
});

test('any text is a list of settings, names of object properties too', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      for (const [key, value] of parseSnippet(text)) expect(key.length * value.length).toBeGreaterThanOrEqual(0);
    }),
  );
  expect(parseSnippet('__proto__ a\nconstructor b\n')).toEqual([
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
});

test('any text is an entry or a problem', async () => {
  const word = fc.constantFrom(
    'linux',
    'initrd',
    'options',
    'title',
    'uki',
    'efi',
    'profile',
    '/k',
    '/u',
    '-1',
    '$x',
    '__proto__',
    '\n',
    ' ',
  );
  const content = fc.array(fc.oneof(word, fc.string()), { maxLength: 40 }).map((words) => words.join(' '));
  await fc.assert(
    fc.asyncProperty(content, content, async (entry, config) => {
      const files = { '/k': 'k', '/u': image, '/loader/entries/a+1.conf': entry, '/loader/loader.conf': config };
      const { entries, defaultEntry } = await findEntries([memoryVolume(1, files)], []);
      expect(defaultEntry === undefined || entries[defaultEntry]?.problem === undefined).toBe(true);
    }),
    { numRuns: 150 },
  );
});

test('patterns and counters', () => {
  expect(matchesGlob('*a'.repeat(100), 'a'.repeat(254))).toBe(true);
  expect(matchesGlob(`${'*a'.repeat(100)}b`, 'a'.repeat(254))).toBe(false);
  expect(matchesGlob('[', 'a')).toBe(false);
  expect(matchesGlob('a\\', 'a')).toBe(false);
  expect(matchesGlob('[]a]', ']')).toBe(true);
  expect(countedName('a+3-1.conf')).toEqual({ name: 'a.conf', counter: { left: 3, done: 1 } });
  expect(countedName('a+1+2.EFI')).toEqual({ name: 'a+1.EFI', counter: { left: 2, done: 0 } });
  for (const name of ['a+99999999999.conf', 'a+3x.conf', 'a.conf', '+.conf'])
    expect(countedName(name)).toEqual({ name, counter: undefined });
});
