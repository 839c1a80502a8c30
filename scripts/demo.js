/**
 * `npm run demo`: boots a small Debian from its disk, with its console here.
 *
 * On a terminal it is yours: log in as root, no password; Ctrl-] powers it off. Elsewhere it shows the boot to the login
 * prompt and powers the guest off. Nothing that the guest writes is kept. Where KVM cannot boot stock kernels the same
 * command runs in the lab, a KVM host in emulation.
 */
import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { bootstrap, runScript } from './bootstrap.js';
import { projectRoot } from './inputs.js';

const program = join(projectRoot, 'bin/tsvmm.js');
const disk = 'debian-gpt';

/** What `tsvmm doctor` finds: whether a Debian kernel can boot on this machine's KVM, and if not, why. */
async function findKvm() {
  /** @type {string} */
  const output = await new Promise((resolve) => {
    execFile(process.execPath, [program, 'doctor', '--json'], (_error, stdout) => resolve(stdout)); // its code says no more
  });
  const { checks, stockKernels } = JSON.parse(output);
  const obstacle =
    checks.find((/** @type {any} */ check) => check.status === 'fail') ??
    checks.find((/** @type {any} */ check) => check.name === 'guest');
  return { stockKernels, why: obstacle?.message ?? 'KVM is not usable here' };
}

/** @param {string[]} args @returns {Promise<number>} */
function runHere(args) {
  const child = spawn(process.execPath, [program, ...args], { stdio: 'inherit' });
  // The terminal sends its signals to both; the machine decides what they mean and this waits for it.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

await runScript(async () => {
  await bootstrap({ packages: ['demo'], why: 'make the demo disk' });
  const { ensureDisk, runInLab } = await import('./lab/index.js');
  const [image, kvm] = [await ensureDisk(disk), await findKvm()];
  const interactive = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const run = (/** @type {string} */ file, /** @type {string[]} */ ...words) => [
    'run',
    file,
    '-m',
    '512M',
    '--ephemeral',
    ...words,
    ...(interactive ? [] : ['--until', 'login: ']),
  ];
  if (interactive) console.error('demo: log in as root, no password');
  if (kvm.stockKernels) return runHere(run(image, ...(interactive ? [] : ['--timeout', '5m'])));
  console.error(`demo: ${kvm.why}; so this runs in the lab, a KVM host in emulation, and takes a few minutes`);
  // The disk's own command line is quiet; here that would be half a minute without a word.
  const patience = ['--append', 'loglevel=7 systemd.default_timeout_start_sec=600', '--stop-timeout', '3m'];
  return runInLab(['node', 'bin/tsvmm.js', ...run(`/images/${disk}.img`, ...patience)], {
    timeout: interactive ? 0 : 1200,
  });
});
