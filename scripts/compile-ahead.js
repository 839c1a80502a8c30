/**
 * Has V8 compile the programs of dist/code for the Node that runs this, into dist/code/NAME.VERSION-ARCH, from where
 * src/host/start-bundle.ts takes it.
 *
 *   node scripts/compile-ahead.js
 *
 * V8 compiles a function when it is first called. So the programs are rehearsed (rehearsal.js): `tsvmm run` runs a tiny
 * guest from a kernel file, from a snapshot and, where mke2fs is there, from a disk. Each rehearsal starts with what the one before it had
 * compiled and adds to it. Where there is no KVM they fail early, and less is compiled: that costs time at a start, nothing else.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildGuests } from './build-guests.js';
import { projectRoot } from './inputs.js';
import { makeFileSystem } from './lab/drives.js';
import { findProgram } from './lab/tools.js';

const folder = join(projectRoot, 'dist/code');

/** What a program's code ends with, and what was compiled of it too. @param {string} text */
export const codeHash = (text) => `\n//${createHash('sha256').update(text).digest('hex')}`;

/** What a file compiled here ends in, after its program's name: another Node makes another. */
export const compiledFor = `${process.version}-${process.arch}`;

/** The programs that a rehearsal starts. */
const rehearsed = ['cli', 'vcpu-worker', 'io-worker'];

/** @param {string} file @param {string} program whether `file` was compiled from its present text */
function belongs(file, program) {
  const ending = (/** @type {string} */ path) => readFileSync(join(folder, path)).subarray(-codeHash('').length);
  return ending(file).equals(ending(`${program}.js`));
}

export function isCompiledAhead() {
  const file = `cli.${compiledFor}`;
  return existsSync(join(folder, file)) && belongs(file, 'cli');
}

/**
 * What is typed after `tsvmm`, one rehearsal after another: a guest that ends by itself, and one that goes on from a snapshot,
 * until it reads `quit`.
 * @param {string} scratch @param {string} guest @param {string} patient
 */
async function* rehearsals(scratch, guest, patient) {
  yield ['run', '--kernel', guest, '-m', '64M'];
  const snapshot = join(scratch, 'snapshot');
  execFileSync(process.execPath, ['--input-type=module', '-e', writer, patient, snapshot]);
  yield ['restore', snapshot];
  if (findProgram('mke2fs') === undefined) return;
  const boot = join(scratch, 'root/boot');
  mkdirSync(join(boot, 'grub'), { recursive: true });
  copyFileSync(guest, join(boot, 'vmlinuz-1'));
  writeFileSync(join(boot, 'initrd.img-1'), 'rehearsal');
  writeFileSync(join(boot, 'grub/grub.cfg'), grubConfig);
  const disk = join(scratch, 'disk.img');
  await makeFileSystem(join(scratch, 'root'), disk, 8 << 20);
  yield ['run', disk, '-m', '64M'];
}

/** Writes a machine to a directory. */
const writer = `
const { VirtualMachine } = await import(${JSON.stringify(new URL('../dist/index.js', import.meta.url))});
const [, kernel, directory] = process.argv;
const vm = await VirtualMachine.start({ memory: '64M', boot: { kernel } });
await vm.console.waitFor('ready');
await vm.snapshot(directory);
await vm.kill();
process.exit();
`;

/** In the manner of Debian's update-grub. */
const grubConfig = `set default="0"
if [ x"\${feature_menuentry_id}" = xy ]; then menuentry_id_option="--id"; else menuentry_id_option=""; fi
function savedefault { if [ -z "\${boot_once}" ]; then saved_entry="\${chosen}"; save_env saved_entry; fi; }
menuentry 'Rehearsal' --class gnu-linux $menuentry_id_option 'simple' {
	search --no-floppy --file --set=root /boot/vmlinuz-1
	linux /boot/vmlinuz-1 root=/dev/vda ro quiet
	initrd /boot/initrd.img-1
}
`;

/** Never throws for a rehearsal that fails: it says so, and the code is compiled when it runs. */
export async function compileAhead() {
  for (const file of readdirSync(folder))
    for (const name of rehearsed) if (file.startsWith(`${name}.v`) && !belongs(file, name)) rmSync(join(folder, file));
  const scratch = mkdtempSync(join(tmpdir(), 'tsvmm-rehearsal-'));
  try {
    const [guest, patient] = await buildGuests(['hello', 'echo']);
    for await (const words of rehearsals(scratch, guest.path, patient.path)) {
      const { status, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'rehearsal.js'), ...words], {
        encoding: 'utf8',
        input: 'quit\n',
        stdio: ['pipe', 'ignore', 'pipe'],
        env: { ...process.env, TSVMM_CODE_CACHE: '0' },
        timeout: 60_000,
      });
      if (status !== 0) throw new Error(stderr.trim() || `tsvmm ${words.join(' ')} ended with ${status}`);
    }
  } catch (error) {
    console.error(`compile-ahead: not everything was compiled: ${error.message}`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await compileAhead();
