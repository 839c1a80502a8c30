/**
 * Makes a resumed machine ready for commands: time, random numbers, this run's drives, the files that came with it.
 *
 * As few processes as possible, since starting one is what is slow in emulation.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Drives by the name they were given outside; looked up before the machine is saved. */
const drives = Object.fromEntries(
  readdirSync('/sys/block')
    .filter((disk) => disk.startsWith('vd'))
    .map((disk) => [readFileSync(`/sys/block/${disk}/serial`, 'utf8'), `/dev/${disk}`]),
);

/** Drives that commands use as they are. */
const bareDrives = ['out', 'scratch'];

/** Puts the files that came with the run in place. Each is a folder: `to` says where, `name` what it is called, `item/` holds it. */
async function placeCopies() {
  const root = '/lab/in/copy';
  if (!existsSync(root)) return;
  for (const copy of readdirSync(root).map((name) => `${root}/${name}`)) {
    const to = readFileSync(`${copy}/to`, 'utf8');
    const name = readFileSync(`${copy}/name`, 'utf8');
    mkdirSync(to.endsWith('/') ? to : dirname(to), { recursive: true });
    await run('cp', ['-a', '--sparse=always', `${copy}/item/${name}`, to]);
  }
}

/** @param {{ time: number, entropy: string, images: boolean }} request */
export async function begin({ time, entropy, images }) {
  const mounts = [`${drives.in} /lab/in ext4 defaults 0 0`, '/lab/in/project /project none bind 0 0'];
  if (images) mounts.push(`${drives.images} /images ext4 defaults 0 0`);
  writeFileSync('/run/lab.fstab', `${mounts.join('\n')}\n`);
  mkdirSync('/run/drives');
  for (const name of bareDrives) symlinkSync(/** @type {string} */ (drives[name]), `/run/drives/${name}`);
  await Promise.all([
    run('perl', ['/lab/agent/begin.pl', String(time), entropy]),
    run('mount', ['-a', '-T', '/run/lab.fstab']),
  ]);
  process.chdir('/project'); // what relative paths are relative to
  await placeCopies();
}
