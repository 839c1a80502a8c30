/** A disk that is copied while its owner overwrites what is just being read, or looked for. */
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { openDiskFile } from '../../../src/disk/disk-file.js';
import { unitBytes } from '../../../src/disk/history.js';
import { copySparse } from '../../../src/disk/sparse-copy.js';
import { Sys } from '../../../src/host/system.js';
import { FamilyDisk, settle } from '../support/disk-family.js';
import { ShuffledEngine } from '../support/shuffled-engine.js';

/** Called after each call that looks at a disk, with its number. */
const hooks = vi.hoisted(() => ({ after: (_call: number) => {} }));
vi.mock('../../../src/host/system.js', async (original) => {
  const system = await original<typeof import('../../../src/host/system.js')>();
  return {
    ...system,
    syscall: (number: number, ...values: never[]) => {
      const result = system.syscall(number, ...values);
      hooks.after(number);
      return result;
    },
  };
});

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-sparse-'));
afterAll(() => rmSync(directory, { recursive: true }));

const units = 6;
const sectors = (units * unitBytes) / 512;

/** The call after which its owner writes, and which of them: each unit is looked for, and read. */
const moments = [Sys.pread64, Sys.lseek].flatMap((call) => Array.from({ length: 14 }, (_, i) => [call, i] as const));

test.each(moments)('after system call %i its owner writes (%i)', async (call, skipped) => {
  const path = join(directory, `image${call}-${skipped}`);
  const content = randomBytes(units * unitBytes);
  content.fill(0, unitBytes, 3 * unitBytes);
  writeFileSync(path, content);
  const file = await openDiskFile({ path });
  const disk = new FamilyDisk(file, content, new ShuffledEngine());
  disk.offer({ do: 'holes', at: unitBytes / 512, sectors: unitBytes / 512, fill: 0 }); // and zeroes that are no hole
  settle([disk]);
  const expected = Buffer.from(disk.content);
  const frozen = await disk.freeze();
  const targetPath = join(directory, `target${call}-${skipped}`);
  const target = openSync(targetPath, 'wx+');
  let writes = 0;
  let left = skipped;
  hooks.after = (number) => {
    if (number !== call || left-- > 0) return;
    hooks.after = () => {};
    for (let at = 0; at < sectors; at += 64)
      disk.offer({ do: at % 128 === 0 ? 'write' : 'holes', at, sectors: 48, fill: ++writes });
    settle([disk]);
  };
  const progress: number[] = [];
  copySparse({ disk: frozen.open, path, target, goesOn: (done) => progress.push(done) > 0 });
  hooks.after = () => {};
  if (skipped === 0) expect(writes).toBeGreaterThan(0);
  closeSync(target);
  expect(readFileSync(targetPath).equals(expected)).toBe(true);
  expect(statSync(targetPath).blocks).toBeLessThanOrEqual((5 * unitBytes) / 512);
  expect([progress[0], progress.at(-1)]).toEqual([0, units * unitBytes]);
  await frozen.release();
  await disk.close();
});
