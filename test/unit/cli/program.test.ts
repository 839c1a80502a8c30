import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Actions, runProgram } from '../../../src/cli/program.js';
import { parseRestore } from '../../../src/cli/restore.js';
import { parseRun, type RunArguments, runFlags } from '../../../src/cli/run-flags.js';

async function invoke(...argv: string[]) {
  let out = '';
  let err = '';
  const calls: unknown[] = [];
  let given: RunArguments | undefined;
  const actions: Actions = {
    run: async (words) => {
      given = words;
      return 7;
    },
    restore: async (words) => {
      calls.push(['restore', words]);
      return 8;
    },
    doctor: async (options) => {
      calls.push(['doctor', options]);
      return 5;
    },
    inspect: async (file, options) => {
      calls.push(['inspect', file, options]);
      return 0;
    },
    snapshot: async (request, options) => {
      calls.push(['snapshot', request, options]);
      return 0;
    },
    ps: async (options) => {
      calls.push(['ps', options]);
      return 0;
    },
    control: async (verb, words, options) => {
      calls.push([verb, ...words, options]);
      return 0;
    },
  };
  const code = await runProgram(argv, actions, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err, calls, given };
}

describe('help', () => {
  it('shows examples first, and every option of run with its group and default', async () => {
    const { code, out } = await invoke('run', '--help');
    expect(code).toBe(0);
    expect(out).toMatch(/^Examples:\n {2}tsvmm run disk\.img /);
    for (const { name, group, default: initial } of runFlags) {
      expect(out).toContain(`--${name}`);
      expect(out).toContain(`${group}:`);
      if (initial !== undefined) expect(out.replace(/\s+/g, ' ')).toContain(`(default: ${initial})`);
    }
  });
  it('lists the commands', async () => {
    const { code, out } = await invoke('--help');
    expect(code).toBe(0);
    for (const word of ['run', 'ps', 'console', 'stop', 'doctor', 'image', 'help', 'exit-codes'])
      expect(out).toContain(word);
  });
  it('is the answer to no words at all, as a mistake', async () => {
    const { code, out, err } = await invoke();
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('Usage: tsvmm');
  });
  it('explains exit codes', async () => {
    const { code, out } = await invoke('help', 'exit-codes');
    expect(code).toBe(0);
    expect(out).toMatch(/^ {2}3 {4}the guest panicked, .*$/m);
    expect(out).toMatch(/^ {2}124 {2}--timeout expired$/m);
  });
  it('explains a command', async () => {
    expect(await invoke('image', 'help')).toMatchObject({
      code: 0,
      out: expect.stringContaining('Usage: tsvmm image'),
    });
    expect((await invoke('help', 'image', 'inspect')).out).toContain('Usage: tsvmm image inspect');
    expect(await invoke('help', 'nothing')).toMatchObject({
      code: 2,
      err: expect.stringContaining("no help on 'nothing'"),
    });
  });
  it('tells the version', async () => {
    expect(await invoke('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});

describe('mistakes', () => {
  it.each([
    [['rnu', 'disk.img'], "unknown command 'rnu'", 'did you mean run?'],
    [['run', '--memroy', '1G'], "unknown option '--memroy'", 'did you mean --memory?'],
    [['doctor', '--jsn'], "unknown option '--jsn'", 'did you mean --json?'],
    [['run', 'a.img', 'b.img'], 'too many arguments', 'tsvmm run --help'],
    [['run', '-m'], "option '-m, --memory <SIZE>' argument missing", 'tsvmm run --help'],
    [['image', 'inspect'], "missing required argument 'file'", 'tsvmm image inspect --help'],
    [['image', 'inspect', 'a', '--jsn'], "unknown option '--jsn'", 'did you mean --json?'],
    [['image', 'inspcet'], "unknown command 'inspcet'", 'did you mean inspect?'],
    [['completion', 'bsh'], "command-argument value 'bsh' is invalid", 'did you mean bash?'],
    [['RUN', 'disk.img'], "unknown command 'RUN'", 'did you mean run?'],
    [['inspect', 'disk.img'], "unknown command 'inspect'", 'did you mean image inspect?'],
    [['pause'], "missing required argument 'machine'", 'tsvmm pause --help'],
    [['puase', 'web'], "unknown command 'puase'", 'did you mean pause?'],
    [['attach', 'web'], "unknown command 'attach'", 'did you mean console?'],
    [['version'], "unknown command 'version'", 'did you mean --version?'],
    [['snapshot', 'merge', 'a'], "missing required argument 'to'", 'tsvmm snapshot merge --help'],
    [['restore'], "missing required argument 'directory'", 'tsvmm restore --help'],
    [['restore', 'dir', '-m', '1G'], "unknown option '-m'", 'tsvmm restore --help'],
    [['snapshot', 'web'], "missing required argument 'directory'", 'tsvmm snapshot --help'],
    [['run', '--smp', '2'], "unknown option '--smp'", 'did you mean --cpus?'],
    [['nothing-like-it'], "unknown command 'nothing-like-it'", 'tsvmm --help'],
    [['package.json'], "unknown command 'package.json'", 'tsvmm run package.json'],
  ])('%j', async (argv, message, hint) => {
    const { code, out, err } = await invoke(...argv);
    expect(code).toBe(2);
    expect(out).toBe('');
    const lines = err.split('\n');
    expect(lines[0]).toContain(`tsvmm: ${message}`);
    expect(lines[1]).toContain('hint: ');
    expect(lines[1]).toContain(hint);
    expect(lines[2]).toBe('code: ERR_TSVMM_CONFIG (exit 2)');
  });
});

it('a mistake is a JSON object too where one was asked for', async () => {
  for (const argv of [
    ['doctor', '--json', '--nope'],
    ['run', '--json', '--memroy', '1G'],
    ['image', 'inspect', '--json'],
  ]) {
    const { code, out, err } = await invoke(...argv);
    expect(code).toBe(2);
    const { error } = JSON.parse(out) as { error: Record<string, string> };
    expect(error).toEqual({ code: 'ERR_TSVMM_CONFIG', message: expect.any(String), hint: expect.any(String) });
    expect(err).toContain(`tsvmm: ${error['message']}\nhint: ${error['hint']}\n`);
  }
});

describe('commands', () => {
  it('-v is an option of every one that can fail', async () => {
    expect(await invoke('doctor', '-v')).toMatchObject({ code: 5, err: '' });
    expect(await invoke('image', 'inspect', 'd.img', '--verbose')).toMatchObject({ code: 0, err: '' });
  });
  it('calls doctor and inspect and answers their codes', async () => {
    expect(await invoke('doctor', '--json')).toMatchObject({
      code: 5,
      calls: [['doctor', { json: true, quiet: false }]],
    });
    expect(await invoke('doctor', '-q')).toMatchObject({ calls: [['doctor', { json: false, quiet: true }]] });
    expect(await invoke('image', 'inspect', 'd.img')).toMatchObject({
      code: 0,
      calls: [['inspect', 'd.img', { json: false }]],
    });
  });
  it('calls what is done with snapshots', async () => {
    for (const command of ['inspect', 'verify'])
      expect(await invoke('snapshot', command, 'dir', '--json', '-v')).toMatchObject({
        code: 0,
        calls: [['snapshot', { command, directory: 'dir' }, { json: true }]],
      });
    for (const command of ['merge', 'vmcore'])
      expect(await invoke('snapshot', command, 'dir', 'to')).toMatchObject({
        code: 0,
        calls: [['snapshot', { command, directory: 'dir', to: 'to' }, { json: false }]],
      });
  });

  it('calls ps, and the commands on a machine with its name and their options', async () => {
    expect(await invoke('ps', '--json')).toMatchObject({ code: 0, err: '', calls: [['ps', { json: true }]] });
    expect(await invoke('pause', 'web', '-v')).toMatchObject({ calls: [['pause', 'web', { verbose: true }]] });
    expect(await invoke('stop', '--timeout', '10s', 'web')).toMatchObject({
      calls: [['stop', 'web', { timeout: '10s' }]],
    });
    expect(await invoke('stop', 'web', '--kill')).toMatchObject({ calls: [['stop', 'web', { kill: true }]] });
  });
  it('calls the snapshot of a machine by its name, unless that is one of the other commands on snapshots', async () => {
    expect(await invoke('snapshot', 'web', 'dir', '--diff')).toMatchObject({
      code: 0,
      err: '',
      calls: [['snapshot', 'web', 'dir', { diff: true }]],
    });
    expect(await invoke('snapshot', 'help', 'dir')).toMatchObject({ calls: [['snapshot', 'help', 'dir', {}]] });
    for (const words of [['web'], [], ['web', 'dir', 'more'], ['web', 'dir', '--json'], ['inspect', 'dir', '--diff']])
      expect(await invoke('snapshot', ...words)).toMatchObject({ code: 2, calls: [] });
    const { out } = await invoke('snapshot', '--help');
    expect(out).toContain('the name of a command (inspect, verify, merge, vmcore) cannot be written this way');
  });
  it.each(['ps', 'pause', 'resume', 'stop', 'console', 'snapshot', 'restore', 'fork'])(
    '%s has examples in its help, and they come first',
    async (name) => {
      const { code, out } = await invoke(name, '--help');
      expect(code).toBe(0);
      expect(out).toMatch(new RegExp(`^Examples:\\n.*tsvmm ${name}\\b`));
    },
  );
  it('takes option values that begin with a dash, which the fast path leaves to it', async () => {
    const { code, given } = await invoke('run', 'd.img', '--append', '-x');
    expect(code).toBe(7);
    expect(given?.values['append']).toBe('-x');
  });
});

describe('both parsers', () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9=,.]{0,8}$/);
  const argument: fc.Arbitrary<string[]> = fc.oneof(
    word.map((text) => [text]),
    fc
      .constantFrom(...runFlags)
      .chain((flag) =>
        flag.value === undefined
          ? fc.constant<string[]>([`--${flag.name}`])
          : fc
              .tuple(fc.boolean(), word)
              .map(([joined, value]) => (joined ? [`--${flag.name}=${value}`] : [`--${flag.name}`, value])),
      ),
    fc.constantFrom<string[][]>(['-m', '1G'], ['-m1G'], ['-c2'], ['-v'], ['--'], ['-vm', '2G']),
  );
  it('of restore agree as well', async () => {
    const words = fc.array(
      fc.constantFrom(
        'dir',
        '-v',
        '--json',
        '--name',
        'web',
        '--name=db',
        '--clock',
        'keep',
        '--until',
        '-q',
        '--cpus',
        '--',
      ),
      { maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(words, async (argv) => {
        const fast = parseRestore(argv);
        if (!fast) return;
        expect(await invoke('restore', ...argv)).toMatchObject({ code: 8, err: '', calls: [['restore', fast]] });
      }),
      { numRuns: 300 },
    );
    expect(parseRestore(['dir', '-qv', '--name', 'web'])).toEqual({
      directory: 'dir',
      values: { name: 'web' },
      switches: new Set(['quiet', 'verbose']),
    });
    for (const argv of [[], ['a', 'b'], ['a', '-m', '1G'], ['a', '--help'], ['a', '--name']])
      expect(parseRestore(argv)).toBeUndefined();
  });
  it('of run agree on whatever the fast one takes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(argument, { maxLength: 8 }), async (parts) => {
        const argv = parts.flat();
        const fast = parseRun(argv);
        if (!fast) return;
        const { code, given, err } = await invoke('run', ...argv);
        expect(err).toBe('');
        expect(code).toBe(7);
        expect(given).toEqual(fast);
      }),
      { numRuns: 200 },
    );
  });
});
