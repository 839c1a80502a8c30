/**
 * Builds the freestanding guests of test/guests and bench/guests into build/guests/NAME.elf with gcc.
 *
 *   node scripts/build-guests.js [--force] [NAME...]
 *
 * A guest is one file there, or a folder of them; all but hello are linked with test/guests/runtime. An object or
 * an image is made again only when the text of what goes into it has changed: the hash of its inputs is kept beside it.
 * Files appear by rename, so that two builds at once (two test processes, say) do not read each other's halves.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { replaceFile } from './inputs.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const sources = join(root, 'test/guests');
const sourceFolders = [sources, join(root, 'bench/guests')];
const output = join(root, 'build/guests');
const objects = join(output, 'objects');
const run = promisify(execFile);

/** -mgeneral-regs-only and no SSE: kernel mode is emulated on some hosts, and emulators know little beyond integers. */
const compileFlags = [
  ...['-c', '-m64', '-std=gnu17', '-O2', '-Wall', '-Wextra'],
  ...['-ffreestanding', '-fno-pic', '-mno-red-zone', '-mgeneral-regs-only', '-mno-sse', '-fno-strict-aliasing'],
  ...['-fno-stack-protector', '-fcf-protection=none', '-fno-asynchronous-unwind-tables'],
  ...['-ffunction-sections', '-fdata-sections', '-I', sources],
];
const linkFlags = ['-nostdlib', '-static', '-no-pie', '-Wl,--build-id=none,--gc-sections,-z,noexecstack'];
/** Guests that stand alone, in 32-bit mode, without the runtime. */
const standalone = new Set(['hello']);

const namesIn = (folder, ...suffixes) =>
  readdirSync(folder)
    .filter((name) => suffixes.some((suffix) => name.endsWith(suffix)))
    .sort();
const stem = (file) => basename(file).replace(/\.[^.]*$/, '');

const filesIn = (folder, ...suffixes) => namesIn(folder, ...suffixes).map((file) => join(folder, file));

const runtimeSources = filesIn(join(sources, 'runtime'), '.c', '.S');
const folders = sourceFolders.flatMap((parent) =>
  readdirSync(parent, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(parent, entry.name)),
);
/** Headers are few and small: a change in any of them rebuilds everything. */
const headers = folders.flatMap((folder) => filesIn(folder, '.h'));
/** Guest name -> its source files. */
const guestSources = new Map([
  ...sourceFolders.flatMap((folder) => filesIn(folder, '.c', '.S')).map((file) => [stem(file), [file]]),
  ...folders
    .filter((folder) => basename(folder) !== 'runtime')
    .map((folder) => [basename(folder), filesIn(folder, '.c', '.S')]),
]);

/** Runs `build(temporaryPath)` unless `path` was made from the same `inputs` (texts); answers true when it ran. */
async function ifChanged(path, inputs, force, build) {
  const hash = createHash('sha256');
  for (const text of inputs) hash.update(`${text.length}:`).update(text);
  const key = hash.digest('hex');
  const keyPath = `${path}.inputs`;
  if (!force && existsSync(path) && existsSync(keyPath) && readFileSync(keyPath, 'utf8') === key) return false;
  const temporary = `${path}.${process.pid}.tmp`;
  await build(temporary);
  renameSync(temporary, path);
  replaceFile(keyPath, key);
  return true;
}

async function gcc(args) {
  try {
    const { stderr } = await run('gcc', args, { cwd: root });
    if (stderr !== '') process.stderr.write(stderr);
  } catch (error) {
    throw new Error(`gcc ${args.join(' ')}\n${error.stderr || error.message}`);
  }
}

function compiler() {
  try {
    return execFileSync('gcc', ['--version'], { encoding: 'utf8' });
  } catch (error) {
    if (error.code === 'ENOENT')
      throw new Error('gcc is not installed, and the test guests are built with it: apt-get install gcc');
    throw error;
  }
}

async function compile(file, extraFlags, context) {
  const object = join(objects, `${relative(root, file).replaceAll('/', '-')}.o`);
  const flags = [...compileFlags, ...extraFlags];
  const inputs = [context.version, flags.join(' '), readFileSync(file), ...context.headerTexts];
  await ifChanged(object, inputs, context.force, (to) => gcc([...flags, file, '-o', to]));
  return object;
}

async function link(name, parts, extraFlags, context) {
  const image = join(output, `${name}.elf`);
  const script = join(sources, 'guest.ld');
  const flags = [...linkFlags, ...extraFlags, '-T', script];
  const inputs = [context.version, flags.join(' '), readFileSync(script), ...parts.map((part) => readFileSync(part))];
  const built = await ifChanged(image, inputs, context.force, (to) => gcc([...flags, ...parts, '-o', to]));
  return { name, path: image, built };
}

/** Applies `work` to each item, two at a time; keeps the order. */
async function twoAtATime(items, work) {
  const results = new Array(items.length);
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i]);
  };
  await Promise.all([worker(), worker()]);
  return results;
}

/** Builds `names` (all guests if empty) and answers `[{ name, path, built }]`. */
export async function buildGuests(names = [], force = false) {
  for (const name of names)
    if (!guestSources.has(name))
      throw new Error(`no guest is named ${name}; there are: ${[...guestSources.keys()].join(', ')}`);
  const wanted = names.length > 0 ? names : [...guestSources.keys()];
  const context = { version: compiler(), headerTexts: headers.map((file) => readFileSync(file)), force };
  mkdirSync(objects, { recursive: true });
  const runtimeObjects = wanted.every((name) => standalone.has(name))
    ? []
    : await twoAtATime(runtimeSources, (file) => compile(file, [], context));
  return twoAtATime(wanted, async (name) => {
    const width = standalone.has(name) ? ['-m32'] : ['-m64'];
    const own = [];
    for (const file of guestSources.get(name)) own.push(await compile(file, width, context));
    return link(name, standalone.has(name) ? own : [...own, ...runtimeObjects], width, context);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  try {
    const guests = await buildGuests(
      args.filter((arg) => arg !== '--force'),
      args.includes('--force'),
    );
    for (const guest of guests) if (guest.built) console.log(`built ${guest.path}`);
  } catch (error) {
    console.error(`build-guests: ${error.message}`);
    process.exitCode = 1;
  }
}
