/**
 * Makes a snapshot, or something of one, with a fault at one of the operations on files that this takes: the program is killed
 * there, or the operation fails. `faults.js ACTION FROM TO kill N`, or `faults.js ACTION FROM TO fail`, which tries each N.
 */
import fs, { closeSync, openSync, readdirSync, unlinkSync, writeSync } from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname } from 'node:path';

let operations = 0;
let faultAt = -1;
let fault: (name: string) => Error = (name) => new Error(name);

/** Counts the calls of a function and lets one of them fail; the original knows how it is promisified. */
function wrap(module: object, name: string, fails: (args: unknown[], error: Error) => unknown): void {
  const functions = module as Record<string, (...args: unknown[]) => unknown>;
  const original = functions[name]!;
  const wrapped = (...args: unknown[]): unknown =>
    operations++ === faultAt ? fails(args, fault(name)) : original(...args);
  for (const symbol of Object.getOwnPropertySymbols(original))
    Object.defineProperty(wrapped, symbol, Object.getOwnPropertyDescriptor(original, symbol)!);
  functions[name] = wrapped;
}
for (const name of ['open', 'write', 'fsync', 'ftruncate', 'read', 'fstat'])
  wrap(fs, name, (args, error) => void setImmediate(args.at(-1) as (error: Error) => void, error));
for (const name of ['mkdir', 'rename', 'lstat']) wrap(promises, name, (_args, error) => Promise.reject(error));
syncBuiltinESMExports();

const [action, from = '', to = '', mode, killAt] = process.argv.slice(2);
// From here on: the modules take the functions above.
const { openSnapshot } = await import('../../../../src/snapshot/load-snapshot.js');
const { mergeSnapshot } = await import('../../../../src/snapshot/merge-snapshot.js');
const { writeCrashDump } = await import('../../../../src/snapshot/crash-dump.js');
const { writeSnapshot } = await import('../../../../src/snapshot/write-snapshot.js');

const size = 6 << 20;
const layerPath = `${from}.layer`;
const fd = openSync(layerPath, 'wx+');
unlinkSync(layerPath);
for (const at of [0, 4096, 5 << 20]) writeSync(fd, Buffer.alloc(8192, 3), 0, 8192, at);
fs.ftruncateSync(fd, size);

const disks = [
  { kind: 'copy' as const, digests: true, write: (path: string) => promises.writeFile(path, Buffer.alloc(5000, 1)) },
];
const parent = action === 'write' ? undefined : await openSnapshot(from);
async function act(): Promise<void> {
  if (action === 'merge') return mergeSnapshot(parent!, to);
  if (action === 'dump') return writeCrashDump(parent!, to);
  const layer = { fd };
  const pieces = [{ offset: 0, length: size, layer, layerOffset: 0 }];
  const memory = { regions: [{ start: 0, size }], pieces };
  const more = parent === undefined ? {} : { parent: { snapshot: parent, pieces: parent.pieces } };
  await writeSnapshot(to, { machine: null, sections: new Map([['x', Buffer.alloc(99)]]), memory, disks, ...more });
}

const open = (): number => readdirSync('/proc/self/fd').length;

if (mode === 'kill') {
  fault = () => {
    process.kill(process.pid, 'SIGKILL');
    return new Error('still there');
  };
  operations = 0;
  faultAt = Number(killAt);
  await act();
  process.stdout.write('done');
} else {
  const before = { names: readdirSync(dirname(to)).sort().join(), fds: open() };
  const told = new Set<string>();
  for (let at = 0; ; at++) {
    fault = (name) =>
      Object.assign(new Error(`ENOSPC: no space left on device, ${name}`), {
        code: 'ENOSPC',
        errno: -28,
        syscall: name,
      });
    operations = 0;
    faultAt = at;
    const error = await act().then(
      () => undefined,
      (reason: unknown) => reason as { code: string; message: string },
    );
    faultAt = -1;
    if (error === undefined) {
      process.stdout.write(JSON.stringify({ faults: at, told: [...told] }));
      break;
    }
    told.add(`${error.code}: ${error.message.replaceAll(to, 'TO')}`);
    const after = { names: readdirSync(dirname(to)).sort().join(), fds: open() };
    if (after.names !== before.names || after.fds !== before.fds)
      throw new Error(`after a fault at ${at}: ${JSON.stringify({ before, after, error: error.message })}`);
  }
}
closeSync(fd);
