/** Snapshots of strangers: whatever is in the directory is refused or harmless (traps T41-T55, T49 above all). */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TsvmmError } from '../../../src/errors.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import type { OpenSnapshot } from '../../../src/snapshot/open-snapshot.js';
import { integer, object } from '../../../src/snapshot/schema.js';
import { writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { openTargets } from '../../support/descriptors.js';
import { contentOf, MIB, page, pattern, ramOf, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());

const whole = bench.path('whole');
const diff = bench.path('diff');
beforeAll(async () => {
  const layer = bench.layer(4 * MIB, { [page]: pattern(page, 5) });
  const pieces = [{ offset: 0, length: 4 * MIB, layer, layerOffset: 0 }];
  const disks = [
    { kind: 'copy', write: async (path: string) => writeFileSync(path, pattern(page, 8)), digests: true } as const,
  ];
  await writeSnapshot(whole, contentOf(pieces, { disks }));
  await using parent = await openSnapshot(whole);
  const changed = [
    { offset: 0, length: MIB, layer: bench.layer(MIB, { 0: pattern(page, 9) }), layerOffset: 0 },
    { offset: MIB, length: 3 * MIB, layer, layerOffset: MIB },
  ];
  await writeSnapshot(diff, contentOf(changed, { parent: { snapshot: parent, pieces } }));
});

let count = 0;
/** A copy to spoil. */
function copyOf(original: string): string {
  const directory = bench.path(`copy${count++}`);
  cpSync(original, directory, { recursive: true });
  return directory;
}

async function refusal(directory: string): Promise<TsvmmError> {
  const before = openTargets().length;
  const result = await openSnapshot(directory).then(
    async (snapshot) => {
      await snapshot[Symbol.asyncDispose]();
      return 'opened';
    },
    (error: unknown) => error,
  );
  expect(result).toBeInstanceOf(TsvmmError);
  expect(result).toMatchObject({ code: 'ERR_TSVMM_SNAPSHOT', hint: expect.stringMatching(/.../) });
  expect(openTargets().length).toBe(before);
  return result as TsvmmError;
}

type Json = Record<string, unknown>;
/** The manifest with something changed in it and a digest that fits: what somebody who knows the form can write. */
function forge(directory: string, change: (manifest: Json) => unknown): void {
  const { sha256: _, ...manifest } = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as Json;
  change(manifest);
  seal(directory, JSON.stringify(manifest, null, 2).slice(0, -'\n}'.length));
}
function seal(directory: string, content: string): void {
  const digest = createHash('sha256').update(content).digest('hex');
  writeFileSync(join(directory, 'manifest.json'), `${content},\n  "sha256": "${digest}"\n}\n`);
}

/** What is at a place such as `memory.regions.0.size`. */
const at = (manifest: Json, place: string): unknown =>
  place.split('.').reduce((inside: unknown, name) => (inside as Json)[name], manifest);
function put(manifest: Json, place: string, value: unknown): void {
  const names = place.split('.');
  const inside = names.length === 1 ? manifest : (at(manifest, names.slice(0, -1).join('.')) as Json);
  inside[names.at(-1)!] = value;
}
const listAt = (manifest: Json, place: string): Json[] => at(manifest, place) as Json[];

describe('T49: bytes that changed', () => {
  test('each bit of the manifest', async () => {
    const directory = copyOf(whole);
    const file = join(directory, 'manifest.json');
    const text = readFileSync(file);
    for (let at = 0; at < text.length; at++) {
      const spoilt = Buffer.from(text);
      spoilt[at]! ^= 1 << (at % 8);
      writeFileSync(file, spoilt);
      await refusal(directory);
    }
    writeFileSync(file, text);
    await (await openSnapshot(directory))[Symbol.asyncDispose]();
  });

  test('each length of the manifest, and more of it', async () => {
    const directory = copyOf(whole);
    const file = join(directory, 'manifest.json');
    const text = readFileSync(file);
    for (let length = 0; length < text.length; length += 7) {
      writeFileSync(file, text.subarray(0, length));
      await refusal(directory);
    }
    writeFileSync(file, Buffer.concat([text, Buffer.from('\n')]));
    await refusal(directory);
  });

  test('any byte of the sections', async () => {
    const directory = copyOf(whole);
    const file = join(directory, 'state.bin');
    const state = readFileSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(state.length - 1), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
        const spoilt = Buffer.from(state);
        spoilt[at]! ^= bits;
        writeFileSync(file, spoilt);
        expect((await refusal(directory)).message).toMatch(/state\.bin: the section [\w.-]+ is not what was written/);
      }),
      { numRuns: 60 },
    );
  });

  test.each(['state.bin', 'memory.bin', 'memory.hashes', 'disk0.raw', 'disk0.hashes'])(
    'the size of %s',
    async (name) => {
      for (const change of [-1, 1]) {
        const directory = copyOf(whole);
        const file = join(directory, name);
        truncateSync(file, readFileSync(file).length + change);
        expect((await refusal(directory)).message).toContain(`${name} has `);
        rmSync(file);
        expect((await refusal(directory)).message).toContain(`it has no ${name}`);
      }
    },
  );
});

describe('T49: a manifest that lies', () => {
  const lies: [string, (manifest: Json) => unknown, string][] = [
    ['memory larger than its file', (m) => growBy(m, 2 ** 32), 'memory.bin has '],
    ['memory larger than any', (m) => growBy(m, 2 ** 50), 'memory.'],
    ['a region that is no page', (m) => put(m, 'memory.regions.0.size', 4097), 'memory.regions[0].size'],
    ['a region at -4096', (m) => put(m, 'memory.regions.0.start', -4096), 'memory.regions[0].start'],
    ['a region of text', (m) => put(m, 'memory.regions.0.size', '4096'), 'memory.regions[0].size'],
    ['regions over each other', (m) => split(m, 0), 'memory.regions[1]'],
    ['regions in the wrong order', (m) => split(m, 2 ** 32).reverse(), 'memory.regions[1]'],
    ['regions beyond all addresses', (m) => put(m, 'memory.regions.0.start', 2 ** 52 - 4096), 'memory.regions: '],
    ['no regions', (m) => put(m, 'memory.regions', []), 'memory.regions'],
    ['pieces that end early', (m) => listAt(m, 'memory.pieces').pop(), 'memory.pieces'],
    ['pieces that go on', (m) => listAt(m, 'memory.pieces').push({ length: 4096 }), 'memory.pieces: they are of'],
    ['257 pieces', (m) => put(m, 'memory.pieces', Array(257).fill({ length: 4096 })), 'a list of 257'],
    ['a piece of half a page', (m) => put(m, 'memory.pieces.0.length', 2048), 'memory.pieces[0].length'],
    ['a piece of no layer', (m) => put(m, 'memory.pieces.0.layer', 1), 'memory.pieces[0].layer: there is no parent 1'],
    ['a piece of layer -1', (m) => put(m, 'memory.pieces.0.layer', -1), 'memory.pieces[0].layer'],
    ['a section longer than the file', (m) => put(m, 'state.0.length', 1001), 'state.bin has '],
    ['a section longer than any', (m) => put(m, 'state.0.length', 2 ** 40), 'state[0].length'],
    ['sections longer than all', (m) => put(m, 'state', manySections(2 ** 26)), 'state: more than'],
    ['a section that begins in another', (m) => listAt(m, 'state').reverse(), 'is not what was written'],
    ['a section twice', (m) => listAt(m, 'state').push(listAt(m, 'state')[0]!), 'state[3].name: it is there twice'],
    ['a section by a path', (m) => put(m, 'state.0.name', '../../etc/passwd'), 'state[0].name'],
    ['5000 sections', (m) => put(m, 'state', Array(5000).fill({})), 'a list of 5000'],
    ['a disk elsewhere', (m) => put(m, 'disks.0.file', '../disk0.raw'), 'disks[0].file'],
    ['a disk at an absolute path', (m) => put(m, 'disks.0.file', '/etc/passwd'), 'disks[0].file'],
    ['another file as a disk', (m) => put(m, 'disks.0.file', 'disk1.raw'), 'disks[0].file'],
    ['a disk of an unknown kind', (m) => put(m, 'disks.0.kind', 'remote'), 'disks[0].kind'],
    ['a reference to a relative path', (m) => put(m, 'disks', [reference({ path: 'x' })]), 'disks[0].path'],
    ['a reference with a number', (m) => put(m, 'disks', [reference({ ino: 5 })]), 'disks[0].ino'],
    ['65 disks', (m) => put(m, 'disks', Array(65).fill({ kind: 'empty' })), 'a list of 65'],
    ['an unknown field', (m) => put(m, 'memory.backing', '/dev/mem'), 'memory: there is no field "backing"'],
    ['an unknown field at the top', (m) => put(m, 'comment', 'x'), 'there is no field "comment"'],
    ['a missing field', (m) => Reflect.deleteProperty(m, 'disks'), 'disks: nothing is not a list'],
    ['another format', (m) => put(m, 'format', 'qcow2'), 'not the manifest of a snapshot'],
    ['no version', (m) => Reflect.deleteProperty(m, 'version'), 'of which version'],
    ['half a version', (m) => put(m, 'version', 1.5), 'of which version'],
    ['a time that is none', (m) => put(m, 'createdAt', '2026-13-41T00:00:00.000Z'), 'createdAt'],
    ['a parent by an absolute path', (m) => put(m, 'parents', [parent('/etc')]), 'parents[0].directory'],
    ['a parent above', (m) => put(m, 'parents', [parent('../..')]), 'parents[0].directory'],
    ['a parent that is this directory', (m) => put(m, 'parents', [parent('../.')]), 'parents[0].directory'],
    ['a parent above and beside', (m) => put(m, 'parents', [parent('../../x')]), 'parents[0].directory'],
    ['a parent within', (m) => put(m, 'parents', [parent('../x/y')]), 'parents[0].directory'],
    ['an unfinished parent', (m) => put(m, 'parents', [parent(`../x.tmp-${'a'.repeat(24)}`)]), 'parents[0].directory'],
    ['a parent with a NUL', (m) => put(m, 'parents', [parent('../x\0y')]), 'parents[0].directory'],
    ['a parent twice', (m) => put(m, 'parents', [parent('../x'), parent('../x')]), 'parents[1].directory'],
    ['65 parents', (m) => put(m, 'parents', Array(65).fill(parent('../x'))), 'a list of 65'],
  ];
  test.each(lies)('%s', async (_what, change, says) => {
    const directory = copyOf(whole);
    forge(directory, change);
    expect((await refusal(directory)).message).toContain(says);
  });

  function growBy(manifest: Json, bytes: number): void {
    put(manifest, 'memory.regions.0.size', 4 * MIB + bytes);
    listAt(manifest, 'memory.pieces').push({ length: bytes });
  }
  function split(manifest: Json, start: number): Json[] {
    const regions = listAt(manifest, 'memory.regions');
    put(manifest, 'memory.regions.0.size', 2 * MIB);
    regions.push({ start, size: 2 * MIB });
    return regions;
  }
  const reference = (more: Json): Json => ({
    kind: 'reference',
    path: '/x',
    size: 1,
    dev: '1',
    ino: '2',
    mtimeNs: '3',
    ...more,
  });
  const parent = (directory: string): Json => ({
    directory,
    id: '00000000-0000-0000-0000-000000000000',
    sha256: '0'.repeat(64),
  });
  const manySections = (length: number): Json[] =>
    [0, 1].map((index) => ({ name: `s${index}`, length, sha256: '0'.repeat(64) }));

  test('any value anywhere is refused by its place, or is another machine', async () => {
    const directory = copyOf(whole);
    const original = readFileSync(join(directory, 'manifest.json'));
    const strange = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(-0, -1, 0.5, 2 ** 53, 1e308, '', '\0', '../..', '__proto__'),
    );
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat(30)), strange, async (steps, value) => {
        writeFileSync(join(directory, 'manifest.json'), original);
        forge(directory, (manifest) => replaceSomewhere(manifest, steps, value));
        const opened: OpenSnapshot | unknown = await openSnapshot(directory).catch((error: unknown) => error);
        if (opened instanceof TsvmmError) {
          expect(opened.code).toBe('ERR_TSVMM_SNAPSHOT');
          return;
        }
        const snapshot = opened as OpenSnapshot;
        expect(ramOf(snapshot).length).toBe(4 * MIB);
        await snapshot[Symbol.asyncDispose]();
      }),
      { numRuns: 300 },
    );
  });

  function replaceSomewhere(into: Json, steps: IterableIterator<number>, value: unknown): void {
    const step = (): number => steps.next().value as number;
    const keys = Object.keys(into);
    const key = keys[step() % keys.length]!;
    const inner = into[key];
    if (typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0 && step() % 4 !== 0)
      replaceSomewhere(inner as Json, steps, value);
    else into[key] = value;
  }

  test('a description with the names of all objects changes none', async () => {
    const directory = copyOf(whole);
    forge(directory, (manifest) => put(manifest, 'machine', 'HERE'));
    const text = readFileSync(join(directory, 'manifest.json'), 'utf8');
    seal(
      directory,
      text
        .split(',\n  "sha256": "')
        .slice(0, -1)
        .join(',\n  "sha256": "')
        .replace('"HERE"', '{"__proto__": {"evil": 1}}'),
    );
    await using snapshot = await openSnapshot(directory);
    expect(({} as Json)['evil']).toBeUndefined();
    expect(() => snapshot.machine(object({ evil: integer(0, 9) }))).toThrow('machine: there is no field "__proto__"');
    expect(() => snapshot.machine(object({}))).toThrow('machine: there is no field');
  });
});

describe('T49: a manifest that is no use', () => {
  const texts: [string, string | Buffer, string][] = [
    ['nothing', '', 'not JSON'],
    ['text', 'hello', 'not JSON'],
    ['a number', '5', 'not an object'],
    ['bytes', Buffer.from([0xff, 0xfe, 0x7b]), 'not JSON'],
    ['a mark of the byte order', '\ufeff{}', 'not JSON'],
    ['deep lists', '['.repeat(100_000), 'nested deeper'],
    ['deep objects', '{"a":'.repeat(50_000), 'nested deeper'],
    ['more than a mebibyte', ' '.repeat(MIB + 1), 'more than 1048576'],
    ['control characters', '{"\u001b[2J": 1}', 'not JSON'],
  ];
  test.each(texts)('%s', async (_what, text, says) => {
    const directory = copyOf(whole);
    writeFileSync(join(directory, 'manifest.json'), text);
    const { message } = await refusal(directory);
    expect(message).toContain(says);
    expect(message).not.toMatch(/\p{Cc}/u);
  });

  test.each([
    [0, 'older'],
    [2, 'newer'],
    [99, 'newer'],
  ])('version %i is named, in whatever form it is', async (version, than) => {
    const directory = copyOf(whole);
    writeFileSync(join(directory, 'manifest.json'), JSON.stringify({ format: 'tsvmm-snapshot', version, other: [] }));
    const { message, hint } = await refusal(directory);
    expect(message).toContain(`version ${version}, which is ${than} than the version 1`);
    expect(hint).toContain('use the version of tsvmm that wrote it');
  });
});

describe('T31: files that are something else', () => {
  const names = ['manifest.json', 'state.bin', 'memory.bin', 'memory.hashes', 'disk0.raw', 'disk0.hashes'];

  test.each(names)('%s as a symbolic link, a directory, a pipe, a socket, a device', async (name) => {
    const directory = copyOf(whole);
    const file = join(directory, name);
    renameSync(file, `${file}.real`);
    symlinkSync(`${name}.real`, file);
    expect((await refusal(directory)).message).toContain(`${name} is a symbolic link`);
    rmSync(file);
    mkdirSync(file);
    expect((await refusal(directory)).message).toContain(`${name} is not a regular file`);
    rmSync(file, { recursive: true });
    execFileSync('mkfifo', [file]);
    expect((await refusal(directory)).message).toContain(`${name} is not a regular file`);
    rmSync(file);
    symlinkSync('/dev/zero', file);
    expect((await refusal(directory)).message).toContain('symbolic link');
    rmSync(file);
    const server = createServer().listen(file);
    await new Promise((resolve) => server.once('listening', resolve));
    expect((await refusal(directory)).message).toContain(`${name} is not a regular file`);
    await new Promise((resolve) => server.close(resolve));
  });

  test('T36: one file under two names', async () => {
    const directory = copyOf(whole);
    rmSync(join(directory, 'memory.hashes'));
    linkSync(join(directory, 'disk0.hashes'), join(directory, 'memory.hashes'));
    truncateSync(join(directory, 'memory.hashes'), 64);
    forge(directory, (manifest) => put(manifest, 'disks.0.size', 4 * MIB));
    truncateSync(join(directory, 'disk0.raw'), 4 * MIB);
    expect((await refusal(directory)).message).toMatch(/disk0\.hashes and .*memory\.hashes.* are the same file/);
  });
});

describe('the directory', () => {
  test('that is not there, a file, a pipe, a dangling link', async () => {
    expect((await refusal(bench.path('nowhere'))).message).toContain('there is no such directory');
    expect((await refusal(join(whole, 'memory.bin'))).message).toContain('it is not a directory');
    execFileSync('mkfifo', [bench.path('pipe')]);
    expect((await refusal(bench.path('pipe'))).message).toContain('it is not a directory');
    symlinkSync('gone', bench.path('dangling'));
    expect((await refusal(bench.path('dangling'))).message).toContain('there is no such directory');
    mkdirSync(bench.path('empty'));
    expect((await refusal(bench.path('empty'))).message).toContain('it has no manifest.json');
  });

  test('that a user reaches by a link of theirs', async () => {
    symlinkSync(diff, bench.path('link'));
    await using snapshot = await openSnapshot(bench.path('link'));
    expect(snapshot.directory).toBe(diff);
  });

  test('that is whole, but whose writer never said so', async () => {
    const left = `${bench.path('mine')}.tmp-${'0123456789abcdef01234567'}`;
    cpSync(whole, left, { recursive: true });
    expect(await refusal(left)).toMatchObject({
      message: expect.stringContaining('its writer has not finished it'),
      hint: expect.stringContaining(`rm -r ${left}`),
    });
    symlinkSync(left, bench.path('to-left'));
    expect((await refusal(bench.path('to-left'))).message).toContain('its writer has not finished it');
    expect((await refusal(bench.path('mine'))).hint).toContain(left);
  });
});

describe('a difference', () => {
  /** A copy of both, beside each other. */
  function pair(): { parent: string; child: string } {
    const place = bench.path(`pair${count++}`);
    for (const name of ['whole', 'diff']) cpSync(bench.path(name), join(place, name), { recursive: true });
    return { parent: join(place, 'whole'), child: join(place, 'diff') };
  }
  const refusedChild = async (child: string, says: string): Promise<void> => {
    const { message } = await refusal(child);
    expect(message).toContain('it is only the difference to "../whole"');
    expect(message).toContain(says);
  };

  test('opens beside its parent', async () => {
    const { child } = pair();
    await using snapshot = await openSnapshot(child);
    expect(snapshot.manifest.parents.map(({ directory }) => directory)).toEqual(['../whole']);
    const ram = Buffer.alloc(4 * MIB);
    ram.set(pattern(page, 9));
    expect(ramOf(snapshot).equals(ram)).toBe(true);
  });

  test('whose parent is missing, is a link, a file', async () => {
    const { parent, child } = pair();
    renameSync(parent, `${parent}.away`);
    await refusedChild(child, 'there is no such directory');
    symlinkSync('whole.away', parent);
    await refusedChild(child, 'it is a symbolic link');
    rmSync(parent);
    writeFileSync(parent, '');
    await refusedChild(child, 'it is not a directory');
  });

  test('whose parent is another one, was changed, is incomplete', async () => {
    const { parent, child } = pair();
    const manifest = readFileSync(join(parent, 'manifest.json'));
    forge(parent, (fields) => put(fields, 'createdAt', '2001-01-01T00:00:00.000Z'));
    await refusedChild(child, 'it is not as it was then');
    forge(parent, (fields) => put(fields, 'id', '00000000-0000-4000-8000-000000000000'));
    await refusedChild(child, 'it is another snapshot');
    writeFileSync(join(parent, 'manifest.json'), manifest);
    truncateSync(join(parent, 'memory.bin'), MIB);
    await refusedChild(child, 'memory.bin has 1048576 bytes');
  });

  test('that has itself as its parent, or one of another size', async () => {
    const { parent, child } = pair();
    forge(child, (fields) => put(fields, 'parents.0.directory', '../diff'));
    expect((await refusal(child)).message).toContain('it is only the difference to "../diff"');
    forge(child, (fields) => {
      put(fields, 'memory.regions.0.size', 2 * MIB);
      put(fields, 'memory.pieces', [{ length: 2 * MIB, layer: 1 }]);
      put(fields, 'parents.0.directory', '../whole');
    });
    truncateSync(join(child, 'memory.bin'), 2 * MIB);
    truncateSync(join(child, 'memory.hashes'), 32);
    await refusedChild(child, 'its memory is of another size');
    expect(readFileSync(join(parent, 'memory.bin')).length).toBe(4 * MIB);
  });
});
