/** The guest of the power-cut test, and that who looks at its disk afterwards finds what is wrong with it. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { diskBytes, examine, lastRecord, record } from '../support/records.js';
import { scratchFolder } from './support/disks.js';
import { runGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const scratch = scratchFolder();
const slots = 16;

describe.skipIf(whyNoKvm !== undefined)('the guest that writes records', () => {
  test.each(['flush', 'through', 'declined', 'unsafe'])('writes them over and over (cache=%s)', async (cache) => {
    const path = scratch.file('records.img', diskBytes(slots));
    const cmdline = `cache=${cache} slots=${slots} from=5 count=40`;
    const output = await runClean('records', { disks: [path], cmdline });
    expect(output).toContain('records: from 5\nrecord 5\n');
    expect(lastRecord(output)).toBe(44);
    expect(examine(readFileSync(path), 44)).toEqual({ highest: 44, missing: [] });
  });

  test('says when a disk has no write cache to turn off', async () => {
    const disks = [{ path: scratch.file('read-only.img', diskBytes(slots)), readOnly: true }];
    const { output } = await runGuest('records', { disks, cmdline: `cache=through slots=${slots}` });
    expect(output).toMatch(/^usage: the disk offers 0x[0-9a-f]+ only$/m);
  });
});

describe('a disk of records', () => {
  const disk = (numbers: readonly number[]): Buffer => {
    const bytes = Buffer.alloc(diskBytes(slots));
    for (const number of numbers) record(number).copy(bytes, (number % slots) * diskBytes(1));
    return bytes;
  };
  const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

  test('is whole when the guest got further than it said', () => {
    expect(examine(disk(upTo(7)), 5)).toEqual({ highest: 7, missing: [] });
    expect(examine(disk(upTo(40)), 39)).toEqual({ highest: 40, missing: [] });
  });

  test('may have half of the next record', () => {
    const torn = disk(upTo(40));
    record(41).copy(torn, (41 % slots) * diskBytes(1), 0, 700);
    expect(examine(torn, 40)).toEqual({ highest: 40, missing: [] });
  });

  test('lacks what is not there, and what is there in part', () => {
    expect(examine(disk(upTo(5)), 7)).toEqual({ highest: 5, missing: [6, 7] });
    expect(examine(disk(upTo(40).filter((n) => n !== 30)), 40)).toEqual({ highest: 40, missing: [30] });
    const torn = disk(upTo(40));
    torn.writeUInt8(0xff, (33 % slots) * diskBytes(1) + 600);
    expect(examine(torn, 40).missing).toEqual([33]);
  });
});

test('a line that is cut is no acknowledgement', () => {
  expect(lastRecord('records: from 1\n')).toBe(0);
  expect(lastRecord('record 1\r\nrecord 2\r\nrecord 31')).toBe(2);
});
