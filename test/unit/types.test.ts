/** The declarations of the package, as programs of others compile against them: strictly, and without skipLibCheck. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-types-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Every option may be passed as undefined; what is not for everybody cannot be reached. */
const program = `
import { Duplex } from 'node:stream';
import { Disk, GuestConsole, Snapshot, TsvmmError, VirtualMachine, prewarm } from 'tsvmm';
import type { BootOptions, CallOptions, ConsoleOptions, CrashDumpOptions, DiskHandlers, DiskOptions, MemoryOptions, RequestContext, TopologyOptions, VmExit, VmOptions, Warning } from 'tsvmm';

type Undefined<T> = { [K in keyof T]-?: undefined extends T[K] ? K : never }[keyof T];
type Optional<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];
type AcceptsUndefined<T> = [Optional<T>] extends [Undefined<T>] ? true : never;
const all: [
  AcceptsUndefined<VmOptions>,
  AcceptsUndefined<DiskOptions>,
  AcceptsUndefined<DiskHandlers>,
  AcceptsUndefined<MemoryOptions>,
  AcceptsUndefined<TopologyOptions>,
  AcceptsUndefined<ConsoleOptions>,
  AcceptsUndefined<CallOptions>,
  AcceptsUndefined<CrashDumpOptions>,
  AcceptsUndefined<Extract<BootOptions, { kernel: unknown }>>,
  AcceptsUndefined<Exclude<BootOptions, { kernel: unknown }>>,
  AcceptsUndefined<Exclude<NonNullable<VmOptions['cpu']>, string>>,
] = [true, true, true, true, true, true, true, true, true, true, true];

export async function main(given: { name?: string; timeout?: number }): Promise<VmExit> {
  const vm = await VirtualMachine.start({ name: given.name, disks: [{ path: 'a.img', readOnly: undefined }] });
  const stream: Duplex = vm.console;
  vm.on('warning', (warning: Warning) => console.warn(warning.message));
  if (stream instanceof GuestConsole) await stream.waitFor(/login:/, { timeout: given.timeout });
  await (await prewarm({ vcpus: 1 }))[Symbol.asyncDispose]();
  return vm.stop();
}
export const code = (error: unknown): string => (error instanceof TsvmmError ? error.code : String(all));

class Zeroes implements DiskHandlers {
  size = '1G' as const;
  async read(_offset: number, into: Uint8Array, { signal }: RequestContext): Promise<void> {
    signal.throwIfAborted();
    into.fill(0);
  }
}
const zeroes: Disk = Disk.from(new Zeroes());
const bytes = Disk.from({ size: 512, read: async (_offset, into) => new Uint8Array(into.length), write: undefined });
export const options: VmOptions = { disks: ['a', zeroes, bytes, Disk.fromModule(new URL('file:///disk.js'), 1)] };
export const size: number = zeroes.size;

export async function look(signal: AbortSignal): Promise<bigint | undefined> {
  await using snapshot = await Snapshot.open(new URL('file:///snapshot'));
  const bytes: Buffer = snapshot.memory.read(snapshot.memory.regions[0]?.start ?? 0, 16);
  snapshot.memory.readInto(0, bytes);
  await snapshot.writeCrashDump('vmcore', { signal, onProgress: undefined });
  // @ts-expect-error: it is not written to
  snapshot.memory.write(0, bytes);
  // @ts-expect-error: of the machine alone
  void snapshot.opened;
  return snapshot.createdAt > new Date(0) ? snapshot.registers(0)['rip'] : undefined;
}
// @ts-expect-error: snapshots are opened
new Snapshot();

// @ts-expect-error: an answer is bytes
Disk.from({ size: 512, read: async () => 512 });
// @ts-expect-error: of the machine alone
void zeroes.open;
// @ts-expect-error: disks are made
new Disk();
// @ts-expect-error: machines are started
new VirtualMachine();
// @ts-expect-error: of the machine alone
export const inside = (console: GuestConsole): unknown => console.deliver;
// @ts-expect-error
export const wire = (error: TsvmmError): unknown => error.toWire();
`;

beforeAll(() => {
  mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
  symlinkSync(packageRoot(), join(folder, 'node_modules/tsvmm'));
  const modules = join(packageRoot(), 'node_modules');
  for (const name of ['@types/node', 'undici-types'])
    symlinkSync(join(modules, name), join(folder, 'node_modules', name));
  for (const name of ['main.mts', 'main.ts']) writeFileSync(join(folder, name), program);
});

test.each<[string, string, ts.CompilerOptions]>([
  ['NodeNext', 'main.mts', { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }],
  ['Bundler', 'main.ts', { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler }],
  [
    'node10',
    'main.ts',
    { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Node10, ignoreDeprecations: '6.0' },
  ],
])('%s', (_name, file, options) => {
  const compiled = ts.createProgram([join(folder, file)], {
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    ...options,
  });
  const problems = ts
    .getPreEmitDiagnostics(compiled)
    .map(({ file: at, messageText }) => `${at?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
  expect(problems).toEqual([]);
});
