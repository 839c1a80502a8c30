/**
 * Enforces the import direction of docs/architecture.md: a folder of src/ imports only from folders below it.
 *
 *   cli, testing -> machine -> threads, boot, snapshot -> virtio, devices, disk, net -> bus, memory, kvm -> host -> errors
 *
 * Run as `node scripts/check-imports.js`; prints each offence and exits 1 if there is one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../src');

/** Higher may import lower; folders on one level may not import each other unless `siblings` says so. */
const levels = [
  ['errors', 'suggest'],
  ['host'],
  ['bus', 'memory', 'kvm'],
  ['virtio', 'devices', 'disk', 'net'],
  ['threads', 'boot', 'snapshot'],
  ['machine'],
  ['index'],
  ['cli', 'testing'],
];
/** Within a level: who may import whom. */
const siblings = { kvm: ['memory'], virtio: ['devices', 'disk'], threads: [], boot: [] };
/** Packages that stay in one place, and are loaded when they are needed. */
const packages = { commander: ['cli'], pino: ['cli'], 'ffi-rs': ['host'], vitest: ['testing'] };
/** Packages that whoever imports the folder has loaded already. */
const present = { testing: ['vitest'] };

const levelOf = (name) => levels.findIndex((level) => level.includes(name));
const top = (file) => relative(root, file).split('/')[0].replace(/\.ts$/, '');

/** Static, for its effect alone, and dynamic. */
const imports = /^(?:import|export|\}).*?\bfrom '([^'\n]+)'|^import '([^'\n]+)'|\bimport\('([^'\n]+)'\)/gm;

let offences = 0;
const report = (file, text) => {
  offences++;
  console.error(`${relative(resolve(root, '..'), file)}: ${text}`);
};

for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
  const file = join(entry.parentPath ?? entry.path, entry.name);
  const from = top(file);
  if (levelOf(from) < 0) report(file, `src/${from} has no place in the import order`);
  const text = readFileSync(file, 'utf8');
  for (const match of text.matchAll(imports)) {
    const specifier = match[1] ?? match[2] ?? match[3];
    if (specifier.startsWith('.')) {
      const to = top(resolve(dirname(file), specifier.replace(/\.js$/, '.ts')));
      const allowed =
        to === from || levelOf(to) < levelOf(from) || (levelOf(to) === levelOf(from) && siblings[from]?.includes(to));
      if (!allowed) report(file, `src/${from} may not import src/${to} (${specifier})`);
    } else if (!specifier.startsWith('node:')) {
      if (!packages[specifier.split('/')[0]]?.includes(from))
        report(file, `src/${from} may not import the package ${specifier}`);
      else if (present[from]?.includes(specifier)) continue;
      else if (match[3] === undefined && !match[0].startsWith('import type '))
        report(file, `import ${specifier} where it is needed: at the start it costs every start its time`);
    }
  }
}
process.exitCode = offences > 0 ? 1 : 0;
