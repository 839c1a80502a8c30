/** The crash dump of a Linux, read by crash: it finds the kernel, its log and its processes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Snapshot } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { ensureDebugSymbols } from '../../scripts/lab/index.js';
import { bootTimeout } from './support/disks.js';
import { full, openLab } from './support/lab.js';

const session = `
import { readdirSync } from 'node:fs';
const { VirtualMachine } = await import('/project/dist/index.js');
const newest = (kind) => '/boot/' + readdirSync('/boot').filter((name) => name.startsWith(kind)).sort().at(-1);
const boot = { kernel: newest('vmlinuz-'), initrd: newest('initrd.img-'), cmdline: 'console=ttyS0 rdinit=/bin/sh quiet' };
const vm = await VirtualMachine.start({ boot, cpus: 2, memory: '384M', signal: AbortSignal.timeout(600_000) });
await vm.console.waitFor('# ');
vm.console.write('mkdir -p /proc /dev; mount -t proc proc /proc; mount -t devtmpfs dev /dev; (echo -n found-by-crash > /proc/self/comm; while :; do sleep 1000; done) &\\n');
vm.console.write('sleep 1; echo release $(uname -r) $((40+2))\\n');
await vm.console.waitFor(/^release .* 42/m);
const snapshot = await vm.snapshot('/root/snapshot');
console.log(/^release (.*) 42/m.exec(vm.console.tail)[1]);
await vm.kill();
`;

const questions = ['sys', 'log', 'list task_struct.tasks -s task_struct.comm -h init_task', 'quit'];

if (!full) console.log('skipped: crash, for which symbols are downloaded: npm run test:full');
describe.skipIf(!full)('the crash dump of a Linux', () => {
  test('is opened by crash, wherever the kernel has put itself', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsvmm-crash-'));
    try {
      await using lab = await openLab({ disks: false });
      const command = ['node', '--input-type=module', '-e', session];
      const { stdout, stderr, exitCode } = await lab.exec(command, { timeout: bootTimeout });
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      const release = stdout.trim();
      await lab.get([{ from: '/root/snapshot', to: `${folder}/` }]);
      const vmcore = join(folder, 'vmcore');
      await using snapshot = await Snapshot.open(join(folder, 'snapshot'));
      await snapshot.writeCrashDump(vmcore);
      const crash = spawnSync('crash', ['-s', await ensureDebugSymbols(release), vmcore], {
        input: questions.map((question) => `${question}\n`).join(''),
        encoding: 'utf8',
        timeout: 300_000,
      });
      expect(crash.status).toBe(0);
      expect(crash.stdout).toMatch(/CPUS: 2\n/);
      expect(crash.stdout).toContain(`RELEASE: ${release}\n`);
      expect(crash.stdout).toContain('Command line: console=ttyS0 rdinit=/bin/sh quiet');
      for (const comm of ['swapper/0', 'sh', 'kthreadd', 'found-by-crash'])
        expect(crash.stdout).toContain(`comm = "${comm}\\000`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 3_600_000);
});
