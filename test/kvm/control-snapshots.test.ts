/** Machines that are written down, restored and forked from other shells: bin/tsvmm.js, as built, with a guest that notices. */
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ownRuntimeDirectory } from '../support/runtime-directory.js';
import { scratchFolder } from './support/disks.js';
import { whyNoKvm } from './support/guests.js';
import { done, machine, nothingSaid, ps, type Running, tsvmm } from './support/tsvmm.js';

const runtime = join(ownRuntimeDirectory(), 'tsvmm');
const scratch = scratchFolder();
let numbers = 0;
const place = (): string => scratch.path(`written${++numbers}`);

const life = (name: string, ...words: string[]): Promise<Running> =>
  machine(name, 'life', 'life: begins\n', '--cmdline', 'cpus=1', ...words);

/** What the life says it is called. */
async function nameOf(speaker: Running): Promise<string> {
  const said = speaker.stdout().length;
  speaker.child.stdin!.write('say\n');
  for (;;) {
    const name = /life: (\S+), round /.exec(speaker.stdout().slice(said))?.[1];
    if (name !== undefined) return name;
    await delay(5);
    if (speaker.child.exitCode !== null) throw new Error(`ended: ${speaker.stdout()}`);
  }
}

async function call(speaker: Running, name: string): Promise<void> {
  speaker.child.stdin!.write(`who ${name}\n`);
  await speaker.shows(`life: now ${name}\n`);
}

/** A console that is attached, past what it shows at its beginning. */
async function consoleOf(name: string): Promise<Running> {
  const attached = tsvmm('console', name);
  const tail = attached.stdout().length;
  while (attached.stdout().length === tail) {
    attached.child.stdin!.write('say\n');
    await delay(20);
  }
  return attached;
}

const names = async (): Promise<string[]> => (await ps()).map(({ name }) => name);
const gone = async (name: string): Promise<void> => {
  while ((await names()).includes(name)) await delay(10);
};

describe.skipIf(whyNoKvm !== undefined)('tsvmm snapshot and restore', () => {
  test('a machine goes on in another process, as often as one likes, and so does the first', async () => {
    const running = await life('web');
    await call(running, 'monday');
    const [monday, tuesday] = [place(), place()];
    expect(await done('snapshot', 'web', monday, '--diff')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('hint: leave out --diff: the first snapshot of a machine is a whole one'),
    });
    expect(await done('snapshot', 'web', monday)).toEqual(nothingSaid);
    await call(running, 'tuesday');
    expect(await done('snapshot', 'web', tuesday, '--diff')).toEqual(nothingSaid);
    await call(running, 'later');
    const blocks = (directory: string): number => statSync(join(directory, 'memory.bin')).blocks;
    expect(blocks(tuesday)).toBeLessThan(blocks(monday));
    expect((await done('snapshot', 'web', monday)).stderr).toContain('exists already');
    expect((await done('snapshot', 'web', join(runtime, 'elsewhere'), '--diff')).stderr).toMatch(
      /^tsvmm: web: a difference to ".*" has to lie beside it\nhint: /,
    );

    const again = tsvmm('restore', monday, '--name', 'again');
    const third = tsvmm('restore', tuesday, '--name', 'third', '--clock', 'keep', '-v');
    expect(await nameOf(again)).toBe('monday');
    expect(await nameOf(third)).toBe('tuesday');
    expect(await nameOf(running)).toBe('later');
    const size = { state: 'running', memory: 64 << 20, cpus: 1 };
    expect(await ps()).toMatchObject([
      { name: 'again', pid: again.child.pid, ...size },
      { name: 'third', pid: third.child.pid, ...size },
      { name: 'web', pid: running.child.pid, ...size },
    ]);
    // One that was restored is written as a difference to what it was restored from.
    const wednesday = place();
    await call(third, 'wednesday');
    expect(await done('snapshot', 'third', wednesday, '--diff')).toEqual(nothingSaid);
    expect(JSON.parse((await done('snapshot', 'inspect', wednesday, '--json')).stdout).parents.length).toBeGreaterThan(
      0,
    );
    const last = tsvmm('restore', wednesday, '--until', 'life ok', '--timeout', '1m');
    expect(await nameOf(last)).toBe('wednesday');
    for (const each of [last, again, third, running]) each.child.stdin!.write('end\n');
    const ended = await Promise.all([last, again, third, running].map((each) => each.ended));
    for (const { code, stdout } of ended) expect([code, stdout]).toEqual([0, expect.stringContaining('life ok')]);
    expect(ended[2]!.stderr).toMatch(/revive/); // with -v: how long each step took
    expect([ended[1]!.stderr, ended[3]!.stderr]).toEqual(['', '']);
    expect(readdirSync(runtime)).toEqual([]);
  });

  test('a paused machine stays so, and one that is restored powers off when it is asked', async () => {
    const running = await machine('web', 'power-button', 'power-button: waiting');
    await done('pause', 'web');
    const directory = place();
    expect(await done('snapshot', 'web', directory)).toEqual(nothingSaid);
    expect(await ps()).toMatchObject([{ name: 'web', state: 'paused' }]);
    expect(await done('resume', 'web', '--clock', 'keep')).toEqual(nothingSaid);
    const restored = tsvmm('restore', directory, '--json', '--name', 'again');
    await restored.shows('"event":"started"');
    expect(await done('stop', 'again')).toEqual(nothingSaid);
    const { code, stdout } = await restored.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout.trim().split('\n').at(-1)!)).toMatchObject({ event: 'exit', reason: 'stopped' });
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
  });

  test('a snapshot whose client is interrupted leaves nothing, and the machine runs', async () => {
    const big = await life('big', '-m', '2G');
    const [directory, other] = [place(), place()];
    const unfinished = (): string[] => readdirSync(scratch.path('.')).filter((file) => file.includes('.tmp-'));
    let interrupted = 0;
    for (let i = 0; i < 20 && interrupted === 0; i++) {
      const client = tsvmm('snapshot', 'big', directory);
      while (unfinished().length === 0 && !existsSync(directory) && client.child.exitCode === null) await delay(1);
      client.child.kill('SIGINT');
      await client.ended;
      while (unfinished().length > 0) await delay(5);
      if (existsSync(directory))
        rmSync(directory, { recursive: true }); // it was quicker
      else interrupted++;
    }
    expect(interrupted).toBeGreaterThan(0);
    expect(await nameOf(big)).toBe('first');
    expect(await done('snapshot', 'big', other)).toEqual(nothingSaid);
    big.child.stdin!.write('end\n');
    expect((await big.ended).code).toBe(0);
  });

  test('what cannot be restored is refused, with the reason', async () => {
    expect(await done('restore', scratch.path('nowhere'), '--name', 'web')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^tsvmm: the snapshot ".*nowhere" cannot be used: .*\nhint: /),
    });
    const running = await life('web');
    const directory = place();
    await done('snapshot', 'web', directory);
    expect(await done('restore', directory, '--name', 'web')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`the name web is in use by pid ${running.child.pid}`),
    });
    await done('stop', 'web', '--kill');
    await running.ended;
  });
});

describe.skipIf(whyNoKvm !== undefined)('tsvmm fork', () => {
  test('forks go on by themselves, also when their parent has ended, and SIGTERM ends all', async () => {
    const running = await life('web', '--stop-timeout', '300ms');
    await call(running, 'parent');
    expect(await done('fork', 'web')).toEqual({ ...nothingSaid, stdout: 'web-fork1\n' });
    expect(await done('fork', 'web', '--name', 'two')).toEqual({ ...nothingSaid, stdout: 'two\n' });
    const { pid } = running.child;
    const one = { pid, state: 'running', memory: 64 << 20, cpus: 1 };
    expect(await ps()).toMatchObject(['two', 'web', 'web-fork1'].map((name) => ({ name, ...one })));
    const [first, second] = [await consoleOf('web-fork1'), await consoleOf('two')];
    await call(first, 'one');
    await call(second, 'two');
    expect(await Promise.all([running, first, second].map(nameOf))).toEqual(['parent', 'one', 'two']);
    expect(running.stdout()).not.toContain('life: now one'); // nobody's but the console's

    // A fork can be paused, written down, restored and forked as any machine.
    expect(await done('pause', 'two')).toEqual(nothingSaid);
    const directory = place();
    expect(await done('snapshot', 'two', directory)).toEqual(nothingSaid);
    expect(await done('resume', 'two')).toEqual(nothingSaid);
    expect(await done('fork', 'two', '--count', '2', '--json')).toMatchObject({
      stdout: '{"names":["two-fork1","two-fork2"]}\n',
    });
    const deep = await consoleOf('two-fork2');
    expect(await nameOf(deep)).toBe('two');
    const restored = tsvmm('restore', directory);
    expect(await nameOf(restored)).toBe('two');
    restored.child.stdin!.write('end\n');
    expect((await restored.ended).code).toBe(0);

    running.child.stdin!.write('end\n');
    await gone('web');
    expect(await names()).toEqual(['two', 'two-fork1', 'two-fork2', 'web-fork1']);
    expect(await nameOf(first)).toBe('one');
    first.child.stdin!.write('end\n');
    expect(await first.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('life ok') });
    running.child.kill('SIGTERM'); // which these guests do not hear: they are forced
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0); // the parent's
    expect(stdout).toContain('life ok');
    expect(stderr).toContain('tsvmm: waiting for forks to end: web-fork1, two, two-fork1, two-fork2\n');
    expect(stderr).toContain('tsvmm: two: asking the guest to power off: SIGTERM (once more forces it off)\n');
    expect(stderr).toContain('tsvmm: two has ended (killed)\n');
    expect((await second.ended).stderr).toBe('tsvmm: two has ended (killed)\n');
    expect((await deep.ended).code).toBe(0);
    expect(readdirSync(runtime)).toEqual([]);
  });

  test('a name that is taken is refused, and nothing is forked', async () => {
    const running = await life('web');
    const other = await machine('two-2', 'spin', 'spin: looping');
    const { code, stdout, stderr } = await done('fork', 'web', '--name', 'two', '--count', '3');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`tsvmm: web: the name two-2 is in use by pid ${other.child.pid}\n`);
    expect(await names()).toEqual(['two-2', 'web']);
    running.child.stdin!.write('end\n');
    expect(await running.ended).toMatchObject({ code: 0, stderr: '' });
    await done('stop', 'two-2', '--kill');
    await other.ended;
  });

  test('powers off when all are asked to', async () => {
    const running = await machine('web', 'power-button', 'power-button: waiting');
    await done('fork', 'web', '--count', '3');
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).not.toContain('forcing');
    expect([...stderr.matchAll(/web-fork\d has ended \(stopped\)/g)].length).toBe(3);
    expect(readdirSync(runtime)).toEqual([]);
  });

  test('leaves no files when the process is left at once', async () => {
    const running = await machine('web', 'spin', 'spin: looping');
    await done('fork', 'web', '--count', '12');
    expect(readdirSync(runtime).length).toBe(26);
    for (let i = 0; i < 3; i++) {
      running.child.kill('SIGTERM');
      await delay(20);
    }
    const { stderr } = await running.ended;
    expect(stderr).not.toContain('Warning');
    expect(readdirSync(runtime)).toEqual([]);
  });
});
