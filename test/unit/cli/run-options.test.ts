import { describe, expect, it } from 'vitest';
import { parseRun } from '../../../src/cli/run-flags.js';
import { type RunOptions, runOptions } from '../../../src/cli/run-options.js';

function options(...argv: string[]): RunOptions {
  const parsed = parseRun(argv);
  if (!parsed) throw new Error(`not plain: ${argv.join(' ')}`);
  return runOptions(parsed);
}

describe('tsvmm run, from words to start options', () => {
  it('has defaults for everything but the disk', () => {
    expect(options('disk.img')).toEqual({
      machine: {
        memory: 512 * 2 ** 20,
        cpus: 1,
        cpu: 'host',
        boot: { disk: 0 },
        disks: [{ path: 'disk.img' }],
        console: { device: 'serial', whenUnread: 'block' },
        onReboot: 'reboot',
        transport: 'pci',
      },
      stopTimeoutMs: 60_000,
    });
  });

  it('reads every option', () => {
    const words = '-m 1G -c 2 --name web --disk b.img,readonly --disk c.img --no-reboot --ephemeral';
    const more = [
      '--entry',
      'Debian, recovery',
      '--append',
      'quiet',
      '--until',
      'login:',
      '--timeout',
      '2m',
      '--stop-timeout',
      '5s',
      '--cpu',
      'host,-avx',
      '--transport',
      'mmio',
    ];
    expect(options('a.img', ...words.split(' '), ...more)).toEqual({
      machine: {
        name: 'web',
        memory: 2 ** 30,
        cpus: 2,
        cpu: { remove: ['avx'] },
        boot: { disk: 0, entry: 'Debian, recovery', append: 'quiet' },
        disks: [
          { path: 'a.img', ephemeral: true },
          { path: 'b.img', readOnly: true },
          { path: 'c.img', ephemeral: true },
        ],
        console: { device: 'serial', whenUnread: 'block' },
        onReboot: 'exit',
        transport: 'mmio',
      },
      until: 'login:',
      timeoutMs: 120_000,
      stopTimeoutMs: 5000,
    });
  });

  it('boots a kernel, with or without a disk', () => {
    expect(options('--kernel', 'k', '--initrd', 'i', '--cmdline', 'a b').machine).toMatchObject({
      boot: { kernel: 'k', initrd: 'i', cmdline: 'a b' },
      disks: [],
    });
    expect(options('d.img', '--kernel', 'k').machine).toMatchObject({
      boot: { kernel: 'k' },
      disks: [{ path: 'd.img' }],
    });
  });

  it.each([
    [[], 'nothing to boot'],
    [['d', '--initrd', 'i'], '--initrd needs --kernel'],
    [['d', '--cmdline', 'c'], '--cmdline needs --kernel'],
    [['d', '--kernel', 'k', '--append', 'a'], '--append and --kernel'],
    [['d', '--kernel', 'k', '--entry', '1'], '--entry and --kernel'],
    [['d', '--until', ''], '--until needs a text'],
    [['d', '-m', 'lots'], '--memory: "lots"'],
  ] as const)('refuses %j', (argv, message) => {
    expect(() => options(...argv)).toThrow(
      expect.objectContaining({
        code: 'ERR_TSVMM_CONFIG',
        message: expect.stringContaining(message),
        hint: expect.any(String),
      }),
    );
  });
});

describe('the fast path', () => {
  it.each([
    ['--help'],
    ['-h'],
    ['d.img', 'e.img'],
    ['--memroy', '1G'],
    ['d.img', '-m'],
    ['d.img', '--json=yes'],
    ['--append', '-x'],
  ])('leaves %j to commander', (...argv) => expect(parseRun(argv)).toBeUndefined());
});
