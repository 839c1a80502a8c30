/**
 * Enforces what CONTRIBUTING.md asks of a file: it begins by saying what it is, and it is one concept, which no file of
 * more than 400 lines is. Tests may be longer.
 *
 * Run as `node scripts/check-files.js`; prints each offence and exits 1 if there is one.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './inputs.js';

const mostLines = 400;
const patterns = ['src/*.ts', 'native/*.cc', 'native/*.h', 'scripts/*.js', 'bench/*.ts', 'bin/*.js'];
const listed = ['ls-files', '--cached', '--others', '--exclude-standard', ...patterns];
const files = execFileSync('git', listed, { cwd: projectRoot, encoding: 'utf8' }).split('\n').filter(Boolean);

let offences = 0;
for (const file of files) {
  const path = join(projectRoot, file);
  if (!existsSync(path)) continue; // deleted and not yet committed
  const lines = readFileSync(path, 'utf8').split('\n');
  const found = [];
  if (!/^(\/\*\*|\/\/|#!)/.test(lines[0] ?? '')) found.push('does not begin with a comment that says what it is');
  if (lines.length > mostLines + 1) found.push(`has ${lines.length - 1} lines, more than ${mostLines}`);
  for (const text of found) console.error(`${file}: ${text}`);
  offences += found.length;
}
process.exitCode = offences > 0 || files.length === 0 ? 1 : 0;
