/** Debian packages as files, from the mirror that this machine itself uses: nothing is installed. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from './process.js';
import { LabError, requireTools } from './tools.js';

/** @param {string} name @param {string} folder for it alone @returns {Promise<string>} path */
export async function downloadPackage(name, folder) {
  requireTools(['apt-get'], `download ${name}`);
  await runTool('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', 'download', name], { cwd: folder });
  const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'));
  if (file === undefined) throw new LabError(`apt-get has not downloaded ${name}`);
  return join(folder, file);
}
