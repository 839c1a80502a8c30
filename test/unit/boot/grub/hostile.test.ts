/** Configurations made to hang, exhaust or confuse: each ends soon, with a list of entries or one clear error. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DiskBudget } from '../../../../src/boot/disk-budget.js';
import { Budget } from '../../../../src/boot/grub/budget.js';
import { readGrubConfig } from '../../../../src/boot/grub/grub-config.js';
import { TsvmmError } from '../../../../src/errors.js';
import { tokenSoup } from './arbitrary-script.js';
import { MemoryFileSystem, memoryVolume } from './memory-file-system.js';
import { configPath, readMenu, runScript } from './run-script.js';

const files = { '/k': 'k', '/i': 'i' };

describe('limits of the whole configuration', () => {
  const x = 'x'.repeat(1000);
  test.each([
    ['an endless loop', 'while true; do true; done', 'runs more than 200000 commands'],
    ['an endless loop of assignments', 'until false; do a=1; done', 'runs more than 200000 commands'],
    ['endless recursion', 'function f {\nf\n}\nf', 'calls itself deeper than 100 levels'],
    [
      'mutual recursion',
      'function f {\nif true; then g; fi\n}\nfunction g {\neval f\n}\nf',
      'calls itself deeper than 100 levels',
    ],
    ['a file that sources itself', 'source $config_file', 'calls itself deeper than 100 levels'],
    ['a file that sources itself twice', `${'source $config_file\n'.repeat(2)}`, 'calls itself deeper than 100 levels'],
    ['configfile of itself', 'configfile $config_file', 'calls itself deeper than 100 levels'],
    ['normal of itself', 'normal', 'calls itself deeper than 100 levels'],
    [
      'a variable that doubles',
      'a=xx; while true; do set a="$a$a"; done',
      'sets a variable longer than 65536 characters',
    ],
    [
      'a word of many variables',
      `a=${x}; while true; do set a=$a$a; if [ "$a" = ]; then true; fi; done`,
      'longer than 65536',
    ],
    ['arguments that multiply', `a="${'y '.repeat(500)}"; echo ${'$a '.repeat(20)}`, 'more than 4096 arguments'],
    [
      'arguments that grow',
      `a=${x}; b=$a$a$a$a$a$a$a$a$a$a; echo ${'$b '.repeat(40)}`,
      'arguments of more than 262144 characters',
    ],
    ['many variables', 'i=; while true; do i=x$i; set v$i=1; eval "set w$i=1"; done', 'sets more than 4096 variables'],
    [
      'many functions',
      Array.from({ length: 2000 }, (_, i) => `function f${i} {\ntrue\n}`).join('\n'),
      'defines more than 1024 functions',
    ],
    ['many entries', `${'menuentry a { linux /k; }\n'.repeat(600)}`, 'defines more than 512 menu entries'],
    ['entries made in a loop', 'while true; do menuentry a { linux /k; }; done', 'defines more than 512 menu entries'],
    [
      'submenus in submenus',
      `${'submenu a {\n'.repeat(12)}menuentry b { linux /k; }\n${'}\n'.repeat(12)}`,
      'nests submenus deeper than 8',
    ],
    [
      'a submenu that sources its file',
      'submenu a { source (hd0,gpt1)/boot/grub/grub.cfg; }',
      'nests submenus deeper than 8',
    ],
    [
      'two submenus that source their file',
      'submenu a { source /boot/grub/grub.cfg; }\nsubmenu b { source /boot/grub/grub.cfg; }',
      'nests submenus deeper than 8',
    ],
    ['deep blocks', `${'if true; then\n'.repeat(5000)}true\n${'fi\n'.repeat(5000)}`, 'nests deeper than 100 blocks'],
    [
      'a menu entry of many words',
      `menuentry a {\n${'a b c\n'.repeat(30_000)}}`,
      'has a statement of more than 65536 words',
    ],
    ['many words', `function f {\n${'a\n'.repeat(50_000)}}\n`.repeat(8), 'runs more than 200000 commands'],
    ['deep menu blocks', 'menuentry a { '.repeat(5000), 'nests deeper than 100 blocks'],
    ['many look-ups', 'i=; while true; do i=x$i; if [ -f /$i ]; then true; fi; done', 'looks up more than 4096 files'],
    ['much text', `a="${'true;'.repeat(200)}true"; while true; do eval "$a"; done`, 'runs more than 200000 commands'],
    [
      'much text that does little',
      `while true; do source /big.cfg; done`,
      'reads more than 4194304 bytes of configuration',
    ],
  ])('%s', async (_, script, message) => {
    const big = { ...files, '/big.cfg': `#${'x'.repeat(1 << 20).slice(2)}` };
    await expect(readMenu(script, big)).rejects.toMatchObject({
      code: 'ERR_TSVMM_BOOT_NOT_FOUND',
      message: expect.stringContaining(message),
      hint: expect.stringContaining('boot: { kernel, initrd, cmdline }'),
    });
  });
});

test('a menu entry that never ends costs only itself', async () => {
  const config = await readMenu(
    'menuentry bad { while true; do true; done; }\nmenuentry good { linux /k; initrd /i; }',
    files,
  );
  expect(config.entries.map(({ title, problem }) => [title, problem])).toEqual([
    ['bad', 'the GRUB configuration runs more than 20000 commands for one menu entry'],
    ['good', undefined],
  ]);
  expect(config.defaultEntry).toBe(1);
});

test('a configuration file that is too large is not read', async () => {
  const config = await readMenu(`menuentry a { linux /k; }\n${'#'.repeat(1 << 20)}`, files);
  expect(config.entries).toEqual([]);
  expect(config.problems[0]).toContain('more than 1048576 bytes');
});

test('problems are not repeated without end', async () => {
  const config = await readMenu(
    `${Array.from({ length: 500 }, (_, i) => `true && ${i}`).join('\n')}\nmenuentry a { linux /k; }`,
    files,
  );
  expect(config.problems).toHaveLength(20);
  expect(config.entries).toHaveLength(1);
});

test('the same question is asked of the file system once', async () => {
  const fs = new MemoryFileSystem({
    ...files,
    [configPath]: 'for a in 1 2 3 4 5 6 7 8; do if [ -f /k ]; then true; fi; done',
  });
  const volume = {
    partition: 1,
    scheme: 'gpt',
    partitionType: '',
    partitionUuid: '',
    fs,
    budget: new DiskBudget(),
  } as const;
  await readGrubConfig([volume], { volume, path: configPath });
  expect(fs.operations).toBe(3); // stat and read of the configuration, stat of /k
});

test('a wildcard cannot make a directory expensive', async () => {
  const many = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`/d/${'a'.repeat(i % 200)}${i}`, '']));
  const star = '*a'.repeat(60);
  await expect(runScript(`while true; do for f in /d/${star}b; do true; done; done`, many)).rejects.toThrow('commands');
});

test('an abort is an abort', async () => {
  const controller = new AbortController();
  const budget = new Budget(new DiskBudget(undefined, controller.signal));
  const volume = memoryVolume(1, { [configPath]: 'while true; do true; done' });
  const reading = readGrubConfig([volume], { volume, path: configPath, budget });
  setImmediate(() => controller.abort(new Error('enough')));
  await expect(reading).rejects.toThrow('enough');
});

test('the event loop turns while a script runs', async () => {
  let turns = 0;
  const counter = setInterval(() => turns++, 0);
  await expect(readMenu('while true; do true; done')).rejects.toThrow('commands');
  clearInterval(counter);
  expect(turns).toBeGreaterThan(3);
});

/** Whatever happens is a result or one `TsvmmError`. */
async function survives(script: string, environment = ''): Promise<void> {
  try {
    const config = await readMenu(script, { ...files, '/boot/grub/grubenv': environment });
    if (config.defaultEntry !== undefined) expect(config.entries[config.defaultEntry]?.problem).toBeUndefined();
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
  }
}

test('soups of tokens', async () => {
  await fc.assert(
    fc.asyncProperty(tokenSoup, (script) => survives(script)),
    { numRuns: 300 },
  );
});

test('bytes', async () => {
  const binary = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('utf8'));
  await fc.assert(
    fc.asyncProperty(binary, binary, (script, environment) => survives(script, environment)),
    { numRuns: 200 },
  );
});

test('real configurations, damaged', async () => {
  const names = ['debian-12.cfg', 'debian-12-boot-partition.cfg', 'ubuntu-22.04-cloud.cfg', 'ubuntu-24.04.cfg'];
  const texts = names.map((name) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8'));
  const damage = fc.array(
    fc.record({
      at: fc.nat(),
      remove: fc.nat(40),
      insert: fc.oneof(fc.constantFrom('{', '}', '"', "'", '\\', '$', '\n', ';', 'fi\n', '\0'), tokenSoup),
    }),
    { minLength: 1, maxLength: 4 },
  );
  const damaged = fc.tuple(fc.constantFrom(...texts), damage).map(([text, changes]) =>
    changes.reduce((current, { at, remove, insert }) => {
      const start = at % current.length;
      return current.slice(0, start) + insert + current.slice(start + remove);
    }, text),
  );
  await fc.assert(
    fc.asyncProperty(damaged, (script) => survives(script)),
    { numRuns: 100 },
  );
});
