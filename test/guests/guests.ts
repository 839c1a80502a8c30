/**
 * Paths of the guests of test/guests and bench/guests for tests: builds them on first use with scripts/build-guests.js.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

export const guestNames = [
  'bad-instruction',
  'block',
  'devices',
  'drive',
  'echo',
  'exits',
  'flood',
  'halt',
  'hello',
  'hostile',
  'intx',
  'life',
  'memory',
  'msix',
  'panic',
  'power-button',
  'poweroff',
  'records',
  'reset',
  'smp',
  'spin',
  'timer',
  'triple',
  'virtio-blk',
  'virtio-console',
  'virtio-rng',
] as const;
export type GuestName = (typeof guestNames)[number];

/** What a guest writes to the debug exit port, and the exit code that QEMU makes of it: `(value << 1) | 1`. */
export const GuestExit = { ok: 0, checkFailed: 1, trap: 2, usage: 3 } as const;
export const exitCodeOf = (value: number): number => (value << 1) | 1;

/** Why guests cannot be built here, as a sentence for a skipped test; undefined when they can. */
export function whyNoGuests(): string | undefined {
  return spawnSync('gcc', ['--version']).status === 0
    ? undefined
    : 'the test guests are built with gcc, which is not installed (apt-get install gcc)';
}

const built = new Set<GuestName>();

/** The guest's ELF file, up to date with its sources. */
export function guestPath(name: GuestName): string {
  if (!built.has(name)) {
    execFileSync(process.execPath, [join(root, 'scripts/build-guests.js'), name], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    built.add(name);
  }
  return join(root, 'build/guests', `${name}.elf`);
}
