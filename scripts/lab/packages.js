/**
 * Debian packages as files, from the mirrors that this machine itself uses: nothing is installed.
 *
 * The machine's own settings and keys of apt count, but the index is a new one beside the download, and gone afterwards. The
 * machine's own may be months old or lack a part (its updates, say), where the lab's images were made from the mirror of today.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machineSources } from './debian.js';
import { runTool } from './process.js';
import { requireTools } from './tools.js';

/**
 * @param {readonly string[]} names
 * @param {string} folder to be made, for the packages alone
 * @param {string | undefined} [sources] lines of a sources.list; the machine's of the lab's suite, or all of its own when it has none
 * @returns {Promise<string[]>} paths
 */
export async function downloadPackages(names, folder, sources = machineSources()) {
  requireTools(['apt-get'], `download ${names.join(', ')}`);
  const apt = join(folder, 'apt');
  for (const part of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(apt, part), { recursive: true });
  /** @type {Record<string, string>} */
  const settings = {
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::Cache': join(apt, 'cache'),
    'APT::Sandbox::User': 'root', // another could not write here
  };
  if (sources !== undefined) {
    const list = join(apt, 'sources.list');
    writeFileSync(list, `${sources}\n`);
    Object.assign(settings, { 'Dir::Etc::sourcelist': list, 'Dir::Etc::sourceparts': '/dev/null' });
  }
  const configuration = join(apt, 'apt.conf');
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  writeFileSync(configuration, lines.join(''));
  const env = { APT_CONFIG: configuration };
  await runTool('apt-get', ['-qq', 'update'], { env });
  await runTool('apt-get', ['-qq', 'download', ...names], { env, cwd: folder });
  rmSync(apt, { recursive: true });
  return readdirSync(folder).map((file) => join(folder, file));
}
