/** The worked example of docs/adding-a-device.md: its files compile where they say they are, and its test is run here. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import ts from 'typescript';
import { afterAll, expect, test } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';

const root = packageRoot();
const page = readFileSync(join(root, 'docs/adding-a-device.md'), 'utf8');
const files = new Map(
  [...page.matchAll(/^```ts (\S+)\n(.*?)^```$/gms)].map(([, path, code]) => [join(root, path!), code!] as const),
);
const testFile = join(root, 'test/unit/virtio/shout/shout.test.ts');

test('the example has the files that it speaks of, and none is in the tree already', () => {
  expect([...files.keys()]).toEqual([join(root, 'src/virtio/shout/shout.ts'), testFile]);
  for (const file of files.keys()) expect(ts.sys.fileExists(file)).toBe(false);
});

test('the example compiles in its place', () => {
  const config = ts.readConfigFile(join(root, 'test/tsconfig.json'), ts.sys.readFile).config as object;
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, join(root, 'test'));
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, directoryExists, getSourceFile } = host;
  host.readFile = (file) => files.get(file) ?? readFile(file);
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.directoryExists = (folder) =>
    [...files.keys()].some((file) => dirname(file) === folder) || directoryExists!(folder);
  host.getSourceFile = (file, version, ...rest) => {
    const text = files.get(file);
    return text === undefined ? getSourceFile(file, version, ...rest) : ts.createSourceFile(file, text, version);
  };
  const program = ts.createProgram([...files.keys()], { ...options, noEmit: true }, host);
  const problems = [...files.keys()].flatMap((file) =>
    ts.getPreEmitDiagnostics(program, program.getSourceFile(file)).map(({ messageText }) => messageText),
  );
  expect(problems).toEqual([]);
}, 120_000);

// The example's own tests become tests of this file.
const bundle = join(root, '.cache/example', `${process.pid}.mjs`);
afterAll(() => rmSync(bundle));
mkdirSync(dirname(bundle), { recursive: true });
const { outputFiles } = await build({
  entryPoints: [testFile],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  external: ['vitest'],
  plugins: [
    {
      name: 'the page',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^[./]/ }, ({ path, importer }) => {
          const file = path.startsWith('/') ? path : join(dirname(importer), path).replace(/\.js$/, '.ts');
          return files.has(file) ? { path: file, namespace: 'page' } : { path: file };
        });
        onLoad({ filter: /.*/, namespace: 'page' }, ({ path }) => ({
          contents: files.get(path)!,
          loader: 'ts',
        }));
      },
    },
  ],
});
writeFileSync(bundle, outputFiles[0]!.contents);
await import(pathToFileURL(bundle).href);
