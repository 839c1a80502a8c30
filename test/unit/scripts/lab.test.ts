/** The pure parts of the lab's scripts: framing, apt sources, the search for run-time packages. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

/** The scripts are plain JavaScript; what is used of them is typed here. */
const script = async <T>(path: string): Promise<T> =>
  (await import(new URL(`../../../scripts/lab/${path}`, import.meta.url).href)) as T;

const { encodeFrame, FrameReader } = await script<{
  encodeFrame(kind: number, id: number, payload: Uint8Array): Buffer;
  FrameReader: new (onFrame: (kind: number, id: number, payload: Buffer) => void) => { push(chunk: Buffer): void };
}>('agent/frames.js');
const { sourceLines } = await script<{ sourceLines(name: string, text: string): string[] }>('debian.js');
const { isRecent } = await script<{ isRecent(version: string): boolean }>('emulator.js');
const { runtimePackages } = await script<{ runtimePackages(root: string): string[] }>('product.js');

describe('frames', () => {
  test('come out as they went in, however the stream is cut', () => {
    const frame = fc.record({
      kind: fc.integer({ min: 0, max: 255 }),
      id: fc.nat(2 ** 32 - 1),
      payload: fc.uint8Array({ maxLength: 300 }),
    });
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1 }),
        (frames, cuts) => {
          const seen: { kind: number; id: number; payload: Uint8Array }[] = [];
          const reader = new FrameReader((kind, id, payload) =>
            seen.push({ kind, id, payload: new Uint8Array(payload) }),
          );
          const stream = Buffer.concat(frames.map(({ kind, id, payload }) => encodeFrame(kind, id, payload)));
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const size = cuts[turn % cuts.length]!;
            reader.push(stream.subarray(at, at + size));
            at += size;
          }
          expect(seen).toEqual(frames.map(({ kind, id, payload }) => ({ kind, id, payload: new Uint8Array(payload) })));
        },
      ),
    );
  });

  test('a length that cannot be is an error, not a wait', () => {
    const reader = new FrameReader(() => {});
    expect(() => reader.push(Buffer.from([1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]))).toThrow('out of step');
  });
});

describe("the machine's apt sources", () => {
  test('one-line files', () => {
    const text = `
# a comment
deb http://mirror.example/debian bookworm main contrib # and more
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://mirror.example/debian/ bookworm-updates main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian bookworm contrib
deb http://mirror.example/debian bookworm-backports main
deb [signed-by=/etc/apt/keyrings/other.gpg] http://mirror.example/debian bookworm main
deb http://third-party.example/php bookworm main
deb http://mirror.example/debian trixie main
deb cdrom:[Debian]/ bookworm main`;
    expect(sourceLines('sources.list', text)).toEqual([
      'deb http://mirror.example/debian bookworm main',
      'deb https://mirror.example/debian/ bookworm-updates main',
    ]);
  });

  test('deb822 files', () => {
    const text = `Types: deb deb-src
# a comment between fields
URIs: http://one.example/debian
 http://two.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://three.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://one.example/debian-security
Suites: bookworm-security
Components: main non-free
`;
    expect(sourceLines('debian.sources', text)).toEqual([
      'deb http://one.example/debian bookworm main',
      'deb http://one.example/debian bookworm-updates main',
      'deb http://two.example/debian bookworm main',
      'deb http://two.example/debian bookworm-updates main',
      'deb http://one.example/debian-security bookworm-security main',
    ]);
  });
});

test('run-time packages are found as Node finds them, development ones and absent optional ones are not', () => {
  const root = mkdtempSync(join(tmpdir(), 'tsvmm-packages-'));
  try {
    const define = (folder: string, content: object) => {
      mkdirSync(join(root, folder), { recursive: true });
      writeFileSync(join(root, folder, 'package.json'), JSON.stringify(content));
    };
    define('.', {
      dependencies: { a: '1' },
      optionalDependencies: { absent: '1', '@scope/b': '1' },
      devDependencies: { dev: '1' },
    });
    define('node_modules/a', { dependencies: { shared: '1', nested: '1' } });
    define('node_modules/a/node_modules/nested', { dependencies: { shared: '1', a: '1' } });
    define('node_modules/@scope/b', {});
    define('node_modules/shared', {});
    define('node_modules/dev', {});
    expect(runtimePackages(root)).toEqual(['node_modules/@scope/b', 'node_modules/a', 'node_modules/shared']);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test.each([
  ['QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)', false],
  ['QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)', true],
  ['QEMU emulator version 11.1.0', true],
  ['something else', false],
])('%s is recent enough for the lab: %s', (version, recent) => {
  expect(isRecent(version)).toBe(recent);
});
