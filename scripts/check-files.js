/**
 * Enforces what CONTRIBUTING.md asks of a file: it begins by saying what it is, and it is one concept, which no file of
 * more than 400 lines is. Tests may be longer.
 *
 * Run as `node scripts/check-files.js`; prints each offence and exits 1 if there is one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { projectRoot } from './inputs.js';

const mostLines = 400;
const files = ['src', 'native', 'scripts', 'bench', 'bin'].flatMap((folder) =>
  readdirSync(join(projectRoot, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|js|cc|h)$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name)),
);

let offences = 0;
for (const path of files) {
  const lines = readFileSync(path, 'utf8').split('\n');
  const found = [];
  if (!/^(\/\*|\/\/|#!)/.test(lines[0] ?? '')) found.push('does not begin with a comment that says what it is');
  if (lines.length > mostLines + 1) found.push(`has ${lines.length - 1} lines, more than ${mostLines}`);
  for (const text of found) console.error(`${relative(projectRoot, path)}: ${text}`);
  offences += found.length;
}
process.exitCode = offences > 0 || files.length === 0 ? 1 : 0;
