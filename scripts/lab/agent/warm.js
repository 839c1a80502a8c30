/** Uses what programs in the lab will use of Node, so that the saved machine holds it in its page cache. */
import { execFileSync } from 'node:child_process';
import 'node:fs/promises';
import 'node:net';
import 'node:readline';
import 'node:tty';
import 'node:util';
import 'node:zlib';
import { Worker } from 'node:worker_threads';

execFileSync(process.execPath, ['-e', '0']);
// what begin.js runs
execFileSync('perl', ['-c', '/lab/agent/begin.pl'], { stdio: 'ignore' });
execFileSync('mount', ['--version']);
await new Promise((ended, failed) => new Worker('0', { eval: true }).on('exit', ended).on('error', failed));
