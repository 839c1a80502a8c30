import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claimName, holderOf, NameClaim, removeIfStale } from '../../../../src/cli/control/name-claim.js';
import { type Place, placeOf } from '../../../../src/cli/control/runtime-directory.js';
import { bundle } from '../../support/bundle.js';

let folder: string;
let place: Place;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvmm-claim-'));
  place = placeOf(folder, 'web');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a name', () => {
  it('is one process’s at a time, and leaves nothing behind', () => {
    const claim = NameClaim.take(place)!;
    expect(holderOf(place)).toBe(process.pid);
    expect(statSync(place.lock).mode & 0o7777).toBe(0o1600);
    expect(NameClaim.take(place)).toBeUndefined();
    expect(removeIfStale(place)).toBe(false);
    writeFileSync(place.socket, '');
    claim.release();
    claim.release();
    expect(readdirSync(folder)).toEqual([]);
    const next = NameClaim.take(place)!;
    claim.release(); // that of the one before
    expect(NameClaim.take(place)).toBeUndefined();
    next.release();
  });

  it('that a dead process had is free, with its files', () => {
    writeFileSync(place.lock, '123\n');
    writeFileSync(place.socket, '');
    expect(holderOf(place)).toBe(123);
    expect(removeIfStale(place)).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
    writeFileSync(place.socket, ''); // without a lock, too
    expect(removeIfStale(place)).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is known of no process that does not say so', () => {
    for (const text of ['', 'x\n', '12345678901\n', '1']) {
      writeFileSync(place.lock, text);
      expect(holderOf(place)).toBeUndefined();
    }
    rmSync(place.lock);
    expect(holderOf(place)).toBeUndefined();
  });

  it('is not taken through a symbolic link, or where no file can be', () => {
    symlinkSync(join(folder, 'elsewhere'), place.lock);
    expect(() => NameClaim.take(place)).toThrow(
      expect.objectContaining({ code: 'ERR_TSVMM_CONFIG', message: expect.stringContaining('(ELOOP)') }),
    );
    expect(existsSync(join(folder, 'elsewhere'))).toBe(false);
    rmSync(place.lock);
    mkdirSync(place.lock);
    expect(() => NameClaim.take(place)).toThrow('(EISDIR)');
  });

  it('leaves the files of another alone, when its own were removed by hand', () => {
    const claim = NameClaim.take(place)!;
    rmSync(place.lock);
    const other = NameClaim.take(place)!;
    writeFileSync(place.socket, 'other');
    claim.release();
    expect(readFileSync(place.socket, 'utf8')).toBe('other');
    other.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is free again also when its files cannot be removed', () => {
    const claim = NameClaim.take(place)!;
    mkdirSync(place.socket);
    expect(() => claim.release()).toThrow('EISDIR');
    expect(() => removeIfStale(place)).toThrow('EISDIR');
    rmSync(place.socket, { recursive: true });
    expect(removeIfStale(place)).toBe(true);
  });

  it('is waited for while its process only starts or ends', async () => {
    const claim = NameClaim.take(place)!;
    setTimeout(() => claim.release(), 50);
    const next = await claimName(place, 'web');
    expect(NameClaim.take(place)).toBeUndefined();
    next.release();
  });

  it('is refused at once where somebody listens', async () => {
    const claim = NameClaim.take(place)!;
    const server = createServer().listen(place.socket);
    await expect(claimName(place, 'web')).rejects.toMatchObject({
      code: 'ERR_TSVMM_CONFIG',
      message: `the name web is in use by pid ${process.pid}`,
      hint: expect.stringContaining('tsvmm stop web'),
    });
    server.close();
    claim.release();
  });

  it('is refused where nobody listens for long', async () => {
    const claim = NameClaim.take(place)!;
    await expect(claimName(place, 'web')).rejects.toThrow(`in use by pid ${process.pid}`);
    claim.release();
  });

  it('is never two processes’, however they collide', async () => {
    const program = await bundle('test/unit/cli/control/claim-program.ts');
    try {
      const run = () => promisify(execFile)(process.execPath, [fileURLToPath(program.url), folder, '1000']);
      const outcomes = await Promise.all([run(), run(), run()]);
      expect(outcomes.map(({ stdout }) => stdout)).toEqual(['', '', '']);
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      program.remove();
    }
  });
});
