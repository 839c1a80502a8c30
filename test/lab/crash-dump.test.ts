/** A crash dump of Linux as the program that kernel developers look into such dumps with sees it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ensureGenerationKernel, installPackages } from '../../scripts/lab/index.js';
import { bootTimeout } from './support/disks.js';
import { full, openLab } from './support/lab.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-crash-'));
afterAll(() => rmSync(folder, { recursive: true }));

const session = `
import { readdirSync } from 'node:fs';
const { VirtualMachine } = await import('/project/dist/index.js');
const initrd = '/boot/' + readdirSync('/boot').filter((name) => name.startsWith('initrd.img-')).sort().at(-1);
const boot = { kernel: '/root/bzImage', initrd, cmdline: 'console=ttyS0 rdinit=/bin/sh quiet nokaslr' };
const vm = await VirtualMachine.start({ boot, cpus: 2, memory: '256M' });
await vm.console.waitFor('# ');
vm.console.write('sleep 12345 &\\necho ready\\n');
await vm.console.waitFor('\\nready');
await using snapshot = await vm.snapshot('/root/snapshot');
await vm.kill();
await snapshot.writeCrashDump('/root/core');
`;

if (!full) console.log('skipped: crash(8) on a dump: its kernel has to be built first: npm run test:full');
describe.skipIf(!full)('a crash dump', () => {
  test('is one for crash(8): processors, memory, processes and their stacks', async () => {
    const { bzImage, symbols } = await ensureGenerationKernel();
    if (spawnSync('crash', ['--version']).error !== undefined) installPackages(['crash'], 'look into a crash dump');
    await using lab = await openLab({ disks: false, copy: [{ from: bzImage, to: '/root/' }] });
    const made = await lab.exec(['node', '--input-type=module', '-e', session], { timeout: bootTimeout });
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    const core = join(folder, 'core');
    await lab.get([{ from: '/root/core', to: core }]);
    const { stdout, stderr } = spawnSync('crash', ['-s', symbols, core], {
      input: 'sys\nps\nbt -a\nquit\n',
      encoding: 'utf8',
      timeout: 300_000,
    });
    expect(stdout, stderr).toMatch(/CPUS: 2/);
    expect(stdout).toMatch(/MEMORY: 25\d(\.\d+)? MB/);
    expect(stdout).toMatch(/RELEASE: 6\.1\.\d+-generation/);
    expect(stdout).toMatch(/\[swapper\/1\]/);
    expect(stdout).toMatch(/\bsleep\b/);
    expect(stdout.match(/^PID: /gm)).toHaveLength(2); // of bt -a: what each processor was at
  }, 3_600_000);
});
