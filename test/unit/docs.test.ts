/** The documentation says what is so: its links lead somewhere, its TypeScript compiles, its commands are ones. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { verbs } from '../../src/cli/control/commands/table.js';
import { exitCodeTexts } from '../../src/cli/exit-codes.js';
import { environmentVariables } from '../../src/cli/help.js';
import { runProgram } from '../../src/cli/program.js';
import { restoreFlags } from '../../src/cli/restore.js';
import { type RunArguments, runFlags } from '../../src/cli/run-flags.js';
import { runOptions } from '../../src/cli/run-options.js';
import { packageRoot } from '../../src/host/addon.js';

const root = packageRoot();
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'SECURITY.md',
  ...readdirSync(join(root, 'docs'), { recursive: true }).map((name) => join('docs', String(name))),
]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));
const page = (name: string): string => pages.find((candidate) => candidate.name === name)!.text;

interface Snippet {
  where: string;
  code: string;
}
function snippets(language: string): Snippet[] {
  const found: Snippet[] = [];
  for (const { name, text } of pages) {
    for (const match of text.matchAll(/^```(\w+)\n(.*?)^```$/gms)) {
      if (match[1] !== language) continue;
      const line = text.slice(0, match.index).split('\n').length;
      found.push({ where: `${name}:${line}`, code: match[2]! });
    }
  }
  return found;
}

describe('TypeScript in the documentation', () => {
  it('compiles against the declarations of the package', () => {
    const all = snippets('ts');
    expect(all.length).toBeGreaterThan(2);
    const files = new Map(
      all.map(({ where, code }) => [
        join(root, '.cache/snippets', `${where.replace(/\W/g, '-')}.mts`),
        `${code}\nexport {};\n`,
      ]),
    );
    const options: ts.CompilerOptions = {
      target: ts.ScriptTarget.ES2023,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ['node'],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    };
    const host = ts.createCompilerHost(options);
    const { readFile, fileExists, getSourceFile } = host;
    host.readFile = (file) => files.get(file) ?? readFile(file);
    host.fileExists = (file) => files.has(file) || fileExists(file);
    host.getSourceFile = (file, version, ...rest) => {
      const text = files.get(file);
      return text === undefined ? getSourceFile(file, version, ...rest) : ts.createSourceFile(file, text, version);
    };
    host.getCurrentDirectory = () => root;
    const program = ts.createProgram([...files.keys()], options, host);
    const problems = ts.getPreEmitDiagnostics(program).map((problem) => {
      const at =
        problem.file && problem.start !== undefined
          ? `${problem.file.fileName.replace(/.*\//, '')}:${problem.file.getLineAndCharacterOfPosition(problem.start).line + 1}`
          : '';
      return `${at} ${ts.flattenDiagnosticMessageText(problem.messageText, ' ')}`;
    });
    expect(problems).toEqual([]);
  }, 120_000);
});

/** Splits a shell line as far as the documentation uses the shell: quotes, redirections, pipes, background, comments. */
function words(line: string): string[] {
  const command = line.replace(/\s+#.*$/, '').split(' | ')[0]!;
  const parts = [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3]!);
  return parts.filter((part) => !/^\d?[<>]|^&$/.test(part));
}

describe('commands in the documentation', () => {
  const scripts = Object.keys(
    (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }).scripts,
  );
  const lines = snippets('sh').flatMap(({ where, code }) =>
    code
      .trim()
      .split('\n')
      .map((line) => [where, line] as const),
  );

  it('exist at all', () => expect(lines.length).toBeGreaterThan(10));

  it.each(lines)('%s: %s', async (_where, line) => {
    const [program, ...rest] = words(line.replace(/^npx tsvmm/, 'tsvmm'));
    if (program === 'npm') {
      const script = rest[0] === 'run' ? rest[1] : rest[0];
      expect(scripts).toContain(script);
      return;
    }
    expect(program).toBe('tsvmm');
    let given: RunArguments | undefined;
    let complaint = '';
    const done = async (): Promise<number> => 0;
    const actions = {
      run: async (words: RunArguments) => {
        given = words;
        return 0;
      },
      restore: done,
      doctor: done,
      inspect: done,
      snapshot: done,
      ps: done,
      control: done,
    };
    const code = await runProgram(rest, actions, {
      out: () => {},
      err: (text) => {
        complaint += text;
      },
    });
    expect(complaint).toBe('');
    expect(code).toBe(0);
    if (given) expect(runOptions(given).machine.memory).toBeTruthy();
  });
});

describe('the pages', () => {
  it.each(pages)('$name links to what is there', ({ name, text }) => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target));
    for (const link of links) {
      const [path = '', anchor] = link.split('#');
      const file = path === '' ? join(root, name) : resolve(root, dirname(name), path);
      expect(existsSync(file), link).toBe(true);
      if (anchor !== undefined) {
        const headings = [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
          heading!
            .toLowerCase()
            .replace(/[^\w -]/g, '')
            .replaceAll(' ', '-'),
        );
        expect(headings, link).toContain(anchor);
      }
    }
  });

  it('docs/errors.md explains every code of src/errors.ts, and no other', () => {
    const source = readFileSync(join(root, 'src/errors.ts'), 'utf8');
    const union = /export type ErrorCode = `ERR_TSVMM_\$\{([^}]*)\}`/.exec(source)?.[1] ?? '';
    const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => `ERR_TSVMM_${code}`);
    expect(codes.length).toBeGreaterThan(15);
    const sections = page('docs/errors.md').split(/^## /m).slice(1);
    expect(sections.map((section) => section.split('\n')[0])).toEqual(codes);
    for (const section of sections) expect(section.trim().split('\n').length, section).toBeGreaterThan(2);
    // What is thrown anywhere is explained with its remedy; what is not says so.
    const thrown = new Set(
      readdirSync(join(root, 'src'), { recursive: true })
        .map((name) => join(root, 'src', String(name)))
        .filter((name) => name.endsWith('.ts') && !/(\/|^)(errors|exit-codes)\.ts$/.test(name))
        .flatMap((name) => [...readFileSync(name, 'utf8').matchAll(/'(ERR_TSVMM_\w+)'/g)].map(([, code]) => code!)),
    );
    for (const section of sections) {
      const code = section.split('\n')[0]!;
      if (thrown.has(code)) expect(section, code).toContain('**Remedy:**');
      else expect(section, code).toContain('Not raised by this version.');
    }
    expect([...thrown].filter((code) => !codes.includes(code))).toEqual([]);
  });

  it('docs/cli.md has the options and exit codes that the program has', () => {
    const text = page('docs/cli.md');
    for (const { name, short, value } of runFlags) {
      expect(text).toContain(
        `${short ? `\`-${short}\`, ` : ''}\`--${name}${value === undefined ? '' : ` ${value.replaceAll('|', '\\|')}`}\``,
      );
    }
    for (const [name, { options }] of verbs)
      for (const { name: option } of options) expect(text, `${name} --${option}`).toContain(`\`--${option}`);
    for (const { name } of restoreFlags)
      expect(text.split(/^## /m).find((section) => section.startsWith('tsvmm restore'))).toMatch(
        new RegExp(`\`(--${name}\\b|-${name[0]}\`)`),
      );
    const rows = [...text.matchAll(/^\| (\d+) \| (.*) \|$/gm)].map(([, code, meaning]) => [Number(code), meaning]);
    expect(rows).toEqual(exitCodeTexts);
    for (const [name, meaning] of environmentVariables) expect(text).toContain(`| \`${name}\` | ${meaning} |`);
  });

  it('src/ reads no environment variable but those that the help lists, and those only in src/cli', () => {
    const read = readdirSync(join(root, 'src'), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) =>
        [...readFileSync(join(root, 'src', name), 'utf8').matchAll(/\benv(?:\.|\[')([A-Z_]+)/g)].map(([, variable]) => {
          expect(name).toMatch(/^cli\//);
          return variable!;
        }),
      );
    // TERM is read by Node, for hasColors().
    expect([...new Set([...read, 'TERM'])].sort()).toEqual(environmentVariables.map(([name]) => name).sort());
  });
});
