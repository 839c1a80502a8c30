/** What the kernel says of private pages, by both of its ways. */
import { closeSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { LayerFile } from '../../../src/memory/layer.js';
import { privateRuns, readWords } from '../../../src/memory/pagemap.js';
import { GuestRam } from '../../../src/memory/ram.js';
import { withOpenFiles } from '../../support/open-files.js';

const page = 4096;
const pages = 64;

test('property: written pages, and no others, over zeroes and over a layer alike', () => {
  const file = new LayerFile(pages * page);
  file.write(Buffer.alloc(pages * page, 1), 0);
  const layer = file.seal();
  const half = (pages / 2) * page;
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(pages - 1)), fc.uniqueArray(fc.nat(pages - 1)), (written, read) => {
      const ram = GuestRam.map(pages * page, {
        hugepages: 'off',
        pieces: [
          { offset: 0, length: half },
          { offset: half, length: half, layer, layerOffset: half },
        ],
      });
      for (const at of read) native().copyOut(ram.hostAddress + at * page, Buffer.alloc(1)); // shared pages, not written
      for (const at of written) native().copyIn(ram.hostAddress + at * page, Buffer.from([0]));
      const found = new Set<number>();
      privateRuns(ram.hostAddress, ram.size, (start, end, isZero) => {
        if (!isZero) for (let at = start; at < end; at += page) found.add(at / page);
      });
      expect([...found].sort((a, b) => a - b)).toEqual([...written].sort((a, b) => a - b));

      // The older way cannot tell the host's page of zeroes from one that was written; it finds no fewer.
      const words = new Set<number>();
      const fd = openSync('/proc/self/pagemap', 'r');
      readWords(fd, ram.hostAddress, ram.size, true, (start, end) => {
        for (let at = start; at < end; at += page) words.add(at / page);
      });
      closeSync(fd);
      for (const at of written) expect(words.has(at)).toBe(true);
      for (const at of words) expect(written.includes(at) || (at * page < half && read.includes(at))).toBe(true);
      ram.release();
    }),
    { numRuns: 50 },
  );
  layer.release();
});

test('a process that may open no more files hears what helps', async () => {
  const ram = GuestRam.map(page, { hugepages: 'off' });
  const list = (): void => privateRuns(ram.hostAddress, ram.size, () => {});
  await withOpenFiles(0, () =>
    expect(list).toThrow(
      expect.objectContaining({
        code: 'ERR_TSVMM_STATE',
        message: expect.stringMatching(/pages of guest memory cannot be listed .*: EMFILE$/),
        hint: expect.stringContaining('ulimit -n'),
      }),
    ),
  );
  expect(list).not.toThrow();
  ram.release();
});
