/** The boot timeline: what it shows, that it is one safe page, and what it replaces. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
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
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { timelineMark, timelinePage } from '../../../src/cli/timeline/page.js';
import { barsPicture } from '../../../src/cli/timeline/picture.js';
import { TimelineRecord } from '../../../src/cli/timeline/record.js';
import { guestBars, type Timeline } from '../../../src/cli/timeline/timeline.js';
import { TsvmmError } from '../../../src/errors.js';
import { FakeMachine } from './fake-machine.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-timeline-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const phase = (name: string, startMs: number, durationMs = 0, guestMs?: number) => ({
  name,
  startMs,
  durationMs,
  ...(guestMs !== undefined && { guestMs }),
});
const boot: Timeline = {
  name: 'debian',
  command: 'tsvmm run debian.img',
  version: '0.1.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  outcome: 'the login prompt',
  endMs: 3000,
  phases: [
    phase('start Node, read the command', 0, 40),
    phase('enter', 100, 5),
    phase('guest: kernel', 200, 0, 0),
    phase('guest: init', 1200, 0, 1000),
    phase('guest: login prompt', 3000),
  ],
  samples: [
    { atMs: 110, exits: {} },
    { atMs: 1000, exits: { io: 900, mmio: 50 } },
    { atMs: 2000, exits: { io: 1000, mmio: 60, hlt: 40 } },
  ],
};
/** The data inside a page, as a program would read it. */
const dataOf = (page: string): Timeline =>
  JSON.parse(/<script type="application\/json" id="timeline">(.*?)<\/script>/s.exec(page)![1]!) as Timeline;

test('the guest runs from its first instruction to the end, without gaps', () => {
  expect(guestBars(boot).map(({ name, startMs, endMs, guestMs }) => [name, startMs, endMs, guestMs])).toEqual([
    ['first instructions', 105, 200, undefined],
    ['kernel', 200, 1200, 0],
    ['init and services', 1200, 3000, 1000],
    ['login prompt', 3000, 3000, undefined],
  ]);
});

describe('the page', () => {
  const page = timelinePage(boot);
  test('shows phases, the guest clock and exits by kind', () => {
    for (const text of ['3.00 s', '105 ms', 'kernel 1.00 s', '1,000', '90.9 %', 'init and services', 'enter 5.0 ms'])
      expect(page).toContain(text);
    expect(dataOf(page)).toEqual(boot);
  });
  test('has no script to run, loads nothing, and is allowed nothing', () => {
    expect(page).toContain("default-src 'none'");
    expect(page.match(/<script[^>]*>/g)).toEqual(['<script type="application/json" id="timeline">']);
    expect(page).not.toMatch(/\b(?:src|href|url)\s*[=(]|@import|\son\w+=/i);
  });
  test('is well formed as far as its pictures go', () => {
    for (const svg of page.match(/<svg.*?<\/svg>/gs)!) {
      // A list of open elements, as a parser of XML keeps it.
      const open: string[] = [];
      for (const [, close, name, self] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
        if (close) expect(open.pop()).toBe(name);
        else if (!self) open.push(name!);
      }
      expect(open).toEqual([]);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
  test('whatever a guest and a command are called, nothing of it is markup', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('</script><script>alert(1)</script>', '"><img src=x onerror=y>', '<!--', '\x1b[2J'),
    );
    fc.assert(
      fc.property(text, text, text, (name, command, outcome) => {
        const hostile = { ...boot, name, command, outcome, phases: [...boot.phases, phase(`guest: ${name}`, 2500)] };
        const made = timelinePage(hostile);
        expect(dataOf(made)).toEqual(hostile);
        const elements = (html: string) => new Set(html.match(/<[a-z!/]+/gi));
        expect([...elements(made)].filter((element) => !elements(page).has(element))).toEqual([]);
      }),
    );
  });
  test('of a machine that never ran is one, too', () => {
    const page = timelinePage({ ...boot, phases: boot.phases.slice(0, 1), samples: [], outcome: 'failure' });
    expect(page).toContain('The guest did not run.');
  });
});

test('bars in a picture never lie on one another', () => {
  const bar = fc
    .tuple(fc.nat(1000), fc.nat(500))
    .map(([startMs, took]) => ({ name: 'x', startMs, endMs: startMs + took, guest: false }));
  fc.assert(
    fc.property(fc.array(bar, { minLength: 1, maxLength: 12 }), (bars) => {
      const svg = barsPicture(bars, 0, 1500, 'test');
      const drawn = [...svg.matchAll(/<rect class="host" x="([\d.]+)" y="(\d+)" width="([\d.]+)"/g)].map(
        ([, x, y, width]) => ({
          x: Number(x),
          y: Number(y),
          end: Number(x) + Number(width),
        }),
      );
      expect(drawn).toHaveLength(bars.length);
      for (const [i, a] of drawn.entries())
        for (const b of drawn.slice(i + 1))
          expect(a.y !== b.y || a.end <= b.x + 0.01 || b.end <= a.x + 0.01).toBe(true);
    }),
  );
});

describe('--timeline FILE', () => {
  const said: string[] = [];
  const record = (path: string) =>
    new TimelineRecord({
      path,
      name: 'vm',
      command: 'tsvmm run',
      version: '1',
      say: (text) => void said.push(text),
      complain: (text) => void said.push(`error: ${text}`),
    });

  test('is written at the login prompt, once, with times since the process started', () => {
    const path = join(folder, 'boot.html');
    const timeline = record(path);
    timeline.starting();
    const machine = new FakeMachine({});
    machine.phases.push(phase('enter', 10, 2));
    timeline.started(machine);
    machine.exits['io'] = 7;
    machine.phases.push(phase('guest: login prompt', 12));
    timeline.finish('the end (power-off)');
    const { outcome, phases, samples, endMs } = dataOf(readFileSync(path, 'utf8'));
    expect(outcome).toBe('the login prompt');
    expect(phases.map(({ name }) => name)).toEqual([
      ...[
        'start Node, read the command',
        'check options',
        'load the library',
        'open disks',
        'enter',
        'guest: login prompt',
      ],
    ]);
    expect(phases[0]!.durationMs).toBeGreaterThan(10); // Node has started
    expect(endMs).toBeGreaterThan(phases[0]!.durationMs);
    expect(samples.length).toBeGreaterThan(0);
    timeline.finish('again');
    expect(said).toEqual([`boot timeline: ${path}`]);
  });

  test('counts exits until the end', () => {
    const path = join(folder, 'end.html');
    const timeline = record(path);
    timeline.starting();
    const machine = new FakeMachine({});
    timeline.started(machine);
    machine.exits['io'] = 7;
    timeline.finish('the end (power-off)');
    expect(dataOf(readFileSync(path, 'utf8')).samples.at(-1)?.exits).toEqual({ io: 7 });
  });

  test('is written when the start fails, and replaces a timeline and an empty file', () => {
    const path = join(folder, 'failed.html');
    for (const before of ['', `${timelineMark}\nold`]) {
      writeFileSync(path, before);
      const timeline = record(path);
      timeline.starting();
      timeline.failed(new TsvmmError('ERR_TSVMM_STATE', 'no <such> thing', { phases: [phase('open disks', 0, 1)] }));
      const page = readFileSync(path, 'utf8');
      expect(page).toContain('failure: no &#60;such&#62; thing');
      expect(dataOf(page).phases.map(({ name }) => name)).toContain('open disks');
    }
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
  test('replaces nothing else, and finds out before the guest starts', () => {
    const path = join(folder, 'letter.html');
    writeFileSync(path, '<!doctype html><p>mine');
    mkdirSync(join(folder, 'folder'));
    symlinkSync(path, join(folder, 'link'));
    for (const name of ['letter.html', 'folder', 'link'])
      expect(() => record(join(folder, name))).toThrow(
        expect.objectContaining({
          code: 'ERR_TSVMM_CONFIG',
          message: expect.stringContaining('exists and is not a timeline'),
        }),
      );
    expect(() => record(join(folder, 'nowhere/boot.html'))).toThrow('cannot be written');
    expect(readFileSync(path, 'utf8')).toBe('<!doctype html><p>mine');
  });
  test('that cannot be written in the end is an error that names it, and nothing is thrown', () => {
    const gone = join(folder, 'gone');
    const path = join(gone, 'boot.html');
    mkdirSync(gone);
    const timeline = record(path);
    rmSync(gone, { recursive: true });
    writeFileSync(gone, 'a file: what is beside the page cannot be removed either');
    timeline.finish('the end');
    expect(said.at(-1)).toContain(`error: the boot timeline ${path} could not be written: ENOTDIR`);
    expect(timeline.isLost).toBe(true);
  });
  test('may have any name that a file may have', () => {
    const path = join(folder, `${'n'.repeat(250)}.html`);
    record(path).finish('the end');
    expect(said.at(-1)).toBe(`boot timeline: ${path}`);
    for (const name of ['n'.repeat(256), 'n\0n']) expect(() => record(join(folder, name))).toThrow('cannot be written');
    expect(() => record('')).toThrow(expect.objectContaining({ code: 'ERR_TSVMM_CONFIG' }));
  });
  test('stays as private as the page that it replaces', () => {
    const path = join(folder, 'private.html');
    record(path).finish('the end');
    for (const mode of [0o600, 0o666]) {
      chmodSync(path, mode);
      record(path).finish('the end');
      expect(statSync(path).mode & 0o777).toBe(mode);
    }
  });
});

const chromium = '/usr/bin/chromium';
if (!existsSync(chromium)) console.log('skipped: the timeline in a browser: apt-get install chromium');
test.skipIf(!existsSync(chromium))('a browser draws it without a complaint, from a file', () => {
  const path = join(folder, 'drawn.html');
  writeFileSync(path, timelinePage(boot));
  const dom = execFileSync(
    chromium,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--dump-dom',
      `--user-data-dir=${join(folder, 'profile')}`,
      `file://${path}`,
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 80_000 },
  );
  expect(dom.match(/<svg /g)).toHaveLength(2);
  expect(dom.match(/<rect /g)).toHaveLength(8);
});
