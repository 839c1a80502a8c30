import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderCpus } from '../../../src/cli/cpus.js';
import { renderDoctor } from '../../../src/cli/doctor.js';
import { codeForEnd, codeForError, codeForExit, codeForThrown, exitCodeTexts } from '../../../src/cli/exit-codes.js';
import { jsonLine } from '../../../src/cli/json-events.js';
import { prettyRecord } from '../../../src/cli/log.js';
import { isCi, type Painter, painter, printable, renderError, table } from '../../../src/cli/print.js';
import { TsvmmError } from '../../../src/errors.js';

const plain: Painter = (_style, text) => text;

describe('errors', () => {
  it('are a message, a hint and a code', () => {
    const error = new TsvmmError('ERR_TSVMM_DISK_LOCKED', 'disk.img is in use by process 12', {
      hint: 'end that VM first',
    });
    expect(renderError(error, false, plain)).toBe(
      'tsvmm: disk.img is in use by process 12\nhint: end that VM first\ncode: ERR_TSVMM_DISK_LOCKED (exit 1)\n',
    );
  });
  it('show the last lines of the console without what could rewrite the terminal', () => {
    const consoleTail = `${Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\r\n')}\r\n\x1b[2J\x1b]0;owned\x07VFS: \x1b[31mpanic\x1b[0m\r\n\x07`;
    const text = renderError(new TsvmmError('ERR_TSVMM_GUEST', 'the guest stopped', { consoleTail }), false, plain);
    expect(text).toContain('last lines of the console:\n  | line 11\n');
    expect(text).toContain('  | VFS: panic\n');
    expect(text).not.toContain('owned');
    expect(text).not.toMatch(/(?!\n)\p{Cc}/u);
  });
  it('list phases in the order in which they began', () => {
    const phases = [
      { name: 'read kernel', startMs: 5, durationMs: 10 },
      { name: 'start workers', startMs: 2, durationMs: 20 },
    ];
    const error = new TsvmmError('ERR_TSVMM_KVM_IOCTL', 'KVM_RUN failed', { phases });
    expect(renderError(error, true, plain)).toMatch(/start workers: [\s\S]*read kernel: /);
  });
  it('show stack, causes and phases only when asked', () => {
    const cause = new Error('the reason below');
    const phases = [{ name: 'load kernel', startMs: 0, durationMs: 12.34 }];
    const error = new TsvmmError('ERR_TSVMM_KVM_IOCTL', 'KVM_RUN failed', { cause, phases });
    expect(renderError(error, false, plain)).not.toContain('reason below');
    const verbose = renderError(error, true, plain);
    expect(verbose).toContain('load kernel: 12.3 ms');
    expect(verbose).toContain('the reason below');
    expect(verbose).toContain('print.test.ts');
  });
  it('without a code are internal', () => {
    expect(renderError(new RangeError('oops'), false, plain)).toBe(
      'tsvmm: internal error: oops\ncode: ERR_TSVMM_STATE (exit 4)\n',
    );
    expect(codeForThrown('text')).toBe(4);
  });
});

describe('guest text', () => {
  it('keeps no control character but newline and tab, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('\x1b[', '\x1b]', '\x9b', '\r', '\n', '\t', '\x07'))),
        (parts) => {
          expect(printable(parts.join(''))).not.toMatch(/(?![\t\n])\p{Cc}/u);
        },
      ),
    );
  });
});

describe('colours', () => {
  const terminal = (hasColors: boolean) =>
    Object.assign(new PassThrough(), { isTTY: true, hasColors: () => hasColors });
  it('follow the terminal, NO_COLOR and FORCE_COLOR', () => {
    expect(painter(terminal(true), {})('red', 'x')).toBe('\x1b[31mx\x1b[39m');
    expect(painter(terminal(false), {})('red', 'x')).toBe('x');
    expect(painter(terminal(true), { NO_COLOR: '1' })('red', 'x')).toBe('x');
    expect(painter(new PassThrough(), {})('red', 'x')).toBe('x');
    expect(painter(new PassThrough(), { FORCE_COLOR: '1' })('red', 'x')).toBe('\x1b[31mx\x1b[39m');
    expect(painter(new PassThrough(), { FORCE_COLOR: '0' })('red', 'x')).toBe('x');
  });
});

describe('exit codes', () => {
  const exit = { consoleTail: '', uptimeMs: 1 };
  it('tell how the guest ended', () => {
    expect(codeForExit({ ...exit, reason: 'power-off' }, undefined, false)).toBe(0);
    expect(codeForExit({ ...exit, reason: 'reset' }, undefined, false)).toBe(0);
    expect(codeForExit({ ...exit, reason: 'power-off' }, undefined, true)).toBe(1);
    expect(codeForExit({ ...exit, reason: 'panic', message: 'x' }, 'SIGTERM', false)).toBe(3);
    expect(
      codeForExit({ ...exit, reason: 'error', error: new TsvmmError('ERR_TSVMM_WORKER_DIED', 'x') }, undefined, false),
    ).toBe(4);
    expect(codeForExit({ ...exit, reason: 'killed' }, undefined, false)).toBe(4);
  });
  it('tell who ended it, and whether it obeyed', () => {
    expect(codeForExit({ ...exit, reason: 'power-off' }, 'SIGTERM', false)).toBe(0);
    expect(codeForExit({ ...exit, reason: 'stopped' }, 'SIGTERM', false)).toBe(0);
    expect(codeForExit({ ...exit, reason: 'killed' }, 'SIGTERM', false)).toBe(143);
    expect(codeForExit({ ...exit, reason: 'aborted', cause: undefined }, 'SIGTERM', false)).toBe(143);
    expect(codeForExit({ ...exit, reason: 'power-off' }, 'SIGINT', false)).toBe(130);
    expect(codeForExit({ ...exit, reason: 'power-off' }, 'timeout', false)).toBe(124);
    expect(codeForExit({ ...exit, reason: 'power-off' }, 'escape', false)).toBe(0);
    expect(codeForEnd('escape', true)).toBe(130);
    expect(codeForEnd('until', true)).toBe(0);
    expect(codeForEnd('SIGHUP', false)).toBe(129);
    expect(codeForEnd('SIGQUIT', false)).toBe(131);
    expect(codeForEnd('SIGPIPE', false)).toBe(141);
  });
  it('are all in the table', () => {
    const listed = new Set(exitCodeTexts.map(([code]) => code));
    for (const code of ['CONFIG', 'DISK_IO', 'KVM_DENIED', 'KVM_IOCTL', 'GUEST', 'TIMEOUT'] as const) {
      expect(listed).toContain(codeForError(`ERR_TSVMM_${code}`));
    }
    expect([...listed]).toEqual([...listed].sort((a, b) => a - b));
  });
});

describe('reports', () => {
  it('show each check with its remedy', () => {
    const checks = [
      { name: 'kvm', status: 'ok', message: 'version 12' },
      { name: 'io_uring', status: 'warn', message: 'forbidden', fix: 'sysctl kernel.io_uring_disabled=0' },
    ] as const;
    expect(renderDoctor({ checks, ok: true, stockKernels: true }, plain)).toBe(
      [
        'ok    kvm       version 12',
        'warn  io_uring  forbidden',
        '                fix: sysctl kernel.io_uring_disabled=0',
        '',
        'Virtual machines can run here.',
        '',
      ].join('\n'),
    );
  });
  it('say in one sentence what can run', () => {
    const verdict = (ok: boolean, stockKernels: boolean) =>
      renderDoctor({ checks: [{ name: 'kvm', status: 'ok', message: '' }], ok, stockKernels }, plain)
        .trim()
        .split('\n')
        .at(-1);
    expect(verdict(false, false)).toBe('Virtual machines cannot run here.');
    expect(verdict(true, false)).toBe('Virtual machines can run here, but not with stock kernels.');
  });
  it('align columns', () =>
    expect(
      table(
        [
          ['a', 'b'],
          ['long', 'c'],
        ],
        ' ',
      ),
    ).toBe(' a     b\n long  c\n'));
});

describe('log records for people', () => {
  it('are one line, with the stack of an error below', () => {
    const record = {
      level: 40,
      time: 1_250,
      event: 'log',
      msg: 'slow\x1b[2J',
      device: 'blk0',
      ms: 3,
      err: { stack: 'Error: x\n  at y' },
    };
    expect(prettyRecord(JSON.stringify(record), plain)).toBe(
      '00:00:01.250 warn  slow device=blk0 ms=3\nError: x\n  at y\n',
    );
  });
});

it('models and features of CPUs, in lines that fit', () => {
  const models = [
    { name: 'x86-64-v2', missing: [] },
    { name: 'x86-64-v4', missing: ['avx512f', 'avx512bw'] },
  ];
  const text = renderCpus({ models, here: Array.from({ length: 60 }, (_, i) => `feature${i}`), elsewhere: ['svm'] });
  expect(text).toContain('  x86-64-v2    complete\n  x86-64-v4    this host lacks avx512f avx512bw\n');
  expect(text).toMatch(/\+NAME, -NAME\):\n {2}feature0 feature1 /);
  expect(text).toMatch(/cannot give:\n {2}svm\n$/);
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
});

it('JSON lines have no control characters as they are, and say the same', () => {
  const c1 = String.fromCharCode(0x7f, 0x80, 0x9b, 0x9f, 0xa0);
  const line = jsonLine({ title: `a${c1}\u001b[31m`, [c1]: [c1] });
  expect(line).toBe(
    String.raw`{"title":"a\u007f\u0080\u009b\u009f` +
      '\u00a0' +
      String.raw`\u001b[31m","\u007f\u0080\u009b\u009f` +
      '\u00a0":[' +
      String.raw`"\u007f\u0080\u009b\u009f` +
      '\u00a0"]}\n',
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(jsonLine({ text })).not.toMatch(/(?!\n$)\p{Cc}/u);
      expect(JSON.parse(jsonLine({ text }))).toEqual({ text });
    }),
  );
});

it.each([
  [undefined, false],
  ['', false],
  ['0', false],
  ['false', false],
  ['true', true],
  ['1', true],
])('CI=%s is %s', (value, is) => {
  expect(isCi(value === undefined ? {} : { CI: value })).toBe(is);
});
