/** Disks that are frozen and copied again and again while they are written: each has its own content, whatever the others do. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { type DiskFileOptions, openDiskFile } from '../../../src/disk/disk-file.js';
import type { FrozenContent } from '../../../src/disk/frozen-content.js';
import { unitBytes } from '../../../src/disk/history.js';
import type { IoEngine } from '../../../src/host/engine.js';
import { openTargets } from '../../support/descriptors.js';
import { copyOf, type DiskOperation, FamilyDisk, settle } from '../support/disk-family.js';
import { engineFor, engineKinds, ioUringMissing } from '../support/engines.js';
import { ShuffledEngine } from '../support/shuffled-engine.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-frozen-'));
const xfs = clonesThere();
if (xfs === undefined) console.warn('skipped: XFS needs root, mkfs.xfs and loop devices');
afterAll(() => {
  if (xfs !== undefined) spawnSync('umount', [xfs]);
  rmSync(directory, { recursive: true });
});
if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

const sector = 512;
const unitSectors = unitBytes / sector;
/** The last unit is not whole. */
const size = 3 * unitBytes + 8 * sector;
const sectors = size / sector;

let files = 0;
function image(content: Buffer, folder = directory): string {
  const path = join(folder, `image${files++}`);
  writeFileSync(path, content);
  return path;
}

type Sort = 'image' | 'ephemeral' | 'direct' | 'direct ephemeral';
const options: Readonly<Record<Sort, Omit<DiskFileOptions, 'path'>>> = {
  image: {},
  ephemeral: { ephemeral: true },
  direct: { cache: 'direct' },
  'direct ephemeral': { cache: 'direct', ephemeral: { limit: 2 ** 20 } },
};

type Step =
  | { readonly do: 'requests'; readonly list: readonly (readonly [disk: number, operation: DiskOperation])[] }
  | {
      readonly do: 'fork' | 'freeze' | 'copy' | 'release' | 'close' | 'grow' | 'forget' | 'reset';
      readonly which: number;
    };

/** Around the ends of units. */
const position = fc.oneof(
  fc.nat(sectors - 1),
  fc.tuple(fc.nat(3), fc.integer({ min: -9, max: 9 })).map(([unit, by]) => Math.max(0, unit * unitSectors + by)),
);
const operation: fc.Arbitrary<DiskOperation> = fc.record({
  do: fc.constantFrom('read', 'read', 'write', 'write', 'discard', 'zeroes', 'holes'),
  at: position,
  sectors: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 2 * unitSectors })),
  fill: fc.integer({ min: 1, max: 255 }),
});
const requests: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('requests'),
  list: fc.array(fc.tuple(fc.nat(20), operation), { minLength: 1, maxLength: 12 }),
});
const event: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom(
    ...(['fork', 'fork', 'fork', 'freeze', 'freeze', 'copy', 'release'] as const),
    ...(['close', 'close', 'grow', 'forget', 'reset'] as const),
  ),
  which: fc.nat(20),
});
const steps = fc.array(fc.oneof(requests, event), { maxLength: 30 });

const openFiles = (): number => openTargets().filter((path) => /tsvmm-frozen-|\/tmp\/#/.test(path)).length;

interface Frozen {
  readonly frozen: FrozenContent;
  readonly content: Buffer;
}

const most = 6;
const pick = <T>(list: readonly T[], which: number): T | undefined => list[which % Math.max(1, list.length)];

async function play(sort: Sort, list: readonly Step[], engine: IoEngine, folder?: string): Promise<void> {
  const before = openFiles();
  const content = randomBytes(size);
  const place = folder === undefined ? {} : { temporaryDirectory: folder };
  const file = await openDiskFile({ path: image(content, folder), ...options[sort], ...place });
  const disks = [new FamilyDisk(file, Buffer.from(content), engine)];
  const frozen: Frozen[] = [];
  const step = async (step: Step): Promise<void> => {
    if (step.do === 'requests') {
      for (const [which, operation] of step.list) pick(disks, which)?.offer(operation);
      return;
    }
    const disk = pick(disks, step.which);
    if (step.do === 'reset') {
      if (disk === undefined) return;
      disk.reset();
      await rebuild(disk);
      return;
    }
    settle(disks);
    switch (step.do) {
      case 'fork': {
        if (disk === undefined || disks.length === most) break;
        const now = await disk.freeze();
        disks.push(await copyOf(now, disk.content, engine));
        await now.release();
        break;
      }
      case 'freeze':
        if (disk !== undefined && frozen.length < most)
          frozen.push({ frozen: await disk.freeze(step.which % 2 === 0), content: Buffer.from(disk.content) });
        break;
      case 'copy': {
        const of = pick(frozen, step.which);
        if (of !== undefined && disks.length < most) disks.push(await copyOf(of.frozen, of.content, engine));
        break;
      }
      case 'release':
        if (frozen.length > 0) await frozen.splice(step.which % frozen.length, 1)[0]!.frozen.release();
        break;
      case 'close':
        if (disks.length > 1) await disks.splice(step.which % disks.length, 1)[0]!.close();
        break;
      case 'grow':
        await disk?.grow((1 + (step.which % 3) * unitSectors) * 8 * sector);
        break;
      case 'forget':
        await disk?.forget();
        break;
    }
  };
  /** Nobody knows what became of the requests of a driver that went away. */
  const rebuild = async (disk: FamilyDisk): Promise<void> => {
    settle(disks);
    const now = await disk.freeze();
    const seen = await copyOf(now, disk.content, engine);
    seen.content = await contentOf(seen);
    disk.content = Buffer.from(seen.content);
    await seen.close();
    await now.release();
  };
  try {
    for (const each of list) await step(each);
    settle(disks);
    for (const disk of disks) disk.look();
    for (const { frozen: of, content } of frozen) {
      const copy = await copyOf(of, content, engine);
      copy.look();
      await copy.close();
    }
    for (const { bench } of disks) expect(bench.warnings).toEqual([]);
  } finally {
    for (const disk of disks) await disk.close();
    for (const { frozen: of } of frozen) await of.release();
  }
  expect(openFiles()).toBe(before);
}

async function contentOf(disk: FamilyDisk): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < disk.content.length / sector; at += 256) parts.push(disk.readNow(at, 256));
  return Buffer.concat(parts);
}

/** Draws numbers from `seed`, always the same ones. */
function draws(seed: number): (count: number) => number {
  let state = seed >>> 0;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

const sorts = Object.keys(options) as Sort[];

/** Requests of a disk and of copies of it, all to the same few sectors: whether a copy's, and what. */
const race = fc.array(
  fc.tuple(
    fc.nat(3),
    fc.record({
      do: fc.constantFrom('read', 'write', 'write', 'holes'),
      at: fc.nat(2 * unitSectors - 1),
      sectors: fc.integer({ min: 1, max: 24 }),
      fill: fc.integer({ min: 1, max: 255 }),
    }) as fc.Arbitrary<DiskOperation>,
  ),
  { minLength: 8, maxLength: 32 },
);

/** After each instant the disk is written, while its copies of this and earlier instants read what was there. */
async function runRaces(sort: Sort, rounds: readonly (readonly [number, DiskOperation][])[], engine: IoEngine) {
  const content = randomBytes(size);
  const file = await openDiskFile({ path: image(content), ...options[sort] });
  const disk = new FamilyDisk(file, Buffer.from(content), engine);
  const copies: FamilyDisk[] = [];
  for (let at = 0; at < sectors; at += 64) disk.offer({ do: 'write', at, sectors: 48, fill: 1 });
  try {
    for (const list of rounds) {
      settle([disk, ...copies]);
      const frozen = await disk.freeze();
      copies.unshift(await copyOf(frozen, disk.content, engine));
      await frozen.release();
      await copies.splice(4)[0]?.close();
      for (const [who, operation] of list) {
        if (who === 0) disk.offer(operation);
        else pick(copies, who - 1)!.offer({ ...operation, do: 'read' });
      }
    }
    settle([disk, ...copies]);
    for (const each of [disk, ...copies]) each.look();
  } finally {
    for (const each of [disk, ...copies]) await each.close();
  }
}

test.each(sorts)('copies read what is overwritten (%s)', { timeout: 300_000 }, async (sort) => {
  const engine = new ShuffledEngine();
  await fc.assert(
    fc.asyncProperty(fc.array(race, { minLength: 1, maxLength: 5 }), fc.nat(), async (rounds, seed) => {
      engine.choose = draws(seed);
      await runRaces(sort, rounds, engine);
    }),
    { numRuns: 80 },
  );
  engine.close();
});

test.each(sorts)('whatever order the kernel does things in (%s)', { timeout: 300_000 }, async (sort) => {
  const engine = new ShuffledEngine();
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (list, seed) => {
      const draw = draws(seed);
      engine.choose = draw;
      engine.interfere = ({ length }) =>
        draw(8) === 0 && length > 4096 ? { most: 4096 * (1 + draw(length / 4096)) } : {};
      await play(sort, list, engine);
    }),
    { numRuns: 60 },
  );
  engine.close();
});

/** A file system that copies files at once; undefined if there can be none here. */
function clonesThere(): string | undefined {
  const [folder, backing] = [join(directory, 'xfs'), join(directory, 'xfs.img')];
  mkdirSync(folder);
  writeFileSync(backing, '');
  truncateSync(backing, 512 * 2 ** 20);
  const isMounted =
    process.getuid?.() === 0 &&
    spawnSync('mkfs.xfs', ['-q', backing]).status === 0 &&
    spawnSync('mount', ['-o', 'loop', backing, folder]).status === 0;
  return isMounted ? folder : undefined;
}

test.skipIf(xfs === undefined).each(sorts)(
  'where the file system copies some of them (%s)',
  { timeout: 300_000 },
  async (sort) => {
    const engine = new ShuffledEngine();
    await fc.assert(
      fc.asyncProperty(steps, (list) => play(sort, list, engine, xfs)),
      { numRuns: 25 },
    );
    engine.close();
  },
);

describe.each(engineKinds)('on %s', (kind) => {
  const { maybe, engine } = engineFor(kind, 4096);

  maybe.each(sorts)('copies read what is overwritten (%s)', { timeout: 300_000 }, async (sort) => {
    await fc.assert(
      fc.asyncProperty(fc.array(race, { minLength: 1, maxLength: 5 }), (rounds) => runRaces(sort, rounds, engine())),
      { numRuns: 30 },
    );
  });

  maybe.each(sorts)('each has its own content (%s)', { timeout: 300_000 }, async (sort) => {
    await fc.assert(
      fc.asyncProperty(steps, (list) => play(sort, list, engine())),
      { numRuns: 30 },
    );
  });
});
