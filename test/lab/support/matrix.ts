/**
 * Debian disks of every layout boot to their login prompt, with one vCPU and two, over PCI and MMIO, on the serial port and
 * on a virtio console. Each transport has a test file of its own, so that two boots run at a time.
 *
 * The default run meets every value and every pair of values once, each on another disk; TSVMM_TEST_FULL=1 runs all
 * combinations on one disk, and two on each of the others.
 */
import { describe, expect, test } from 'vitest';
import type { Timeline } from '../../../src/cli/timeline/timeline.js';
import { answersOf, askedQuestions, bootTimeout, type DiskFacts, diskNamed, disks, patient, rootOf } from './disks.js';
import { type DiskName, full, type Lab, openLab } from './lab.js';

interface Combination {
  readonly name: DiskName;
  readonly cpus: 1 | 2;
  readonly transport: 'pci' | 'mmio';
  readonly console: 'serial' | 'virtio';
}

const pairs: readonly Combination[] = [
  { name: 'debian-gpt', cpus: 1, transport: 'pci', console: 'serial' },
  { name: 'debian-sdboot', cpus: 2, transport: 'mmio', console: 'serial' },
  { name: 'debian-mbr', cpus: 2, transport: 'pci', console: 'virtio' },
  { name: 'debian-uki', cpus: 1, transport: 'mmio', console: 'virtio' },
];

const product: readonly Combination[] = [
  ...([1, 2] as const).flatMap((cpus) =>
    (['pci', 'mmio'] as const).flatMap((transport) =>
      (['serial', 'virtio'] as const).map((console) => ({ name: 'debian-gpt' as const, cpus, transport, console })),
    ),
  ),
  ...disks
    .filter(({ name }) => name !== 'debian-gpt')
    .flatMap(({ name }): Combination[] => [
      { name, cpus: 1, transport: 'pci', console: 'serial' },
      { name, cpus: 2, transport: 'mmio', console: 'virtio' },
    ]),
];

/** The combinations over one transport. */
export function testCombinations(transport: Combination['transport']): void {
  const [all, usual] = [product, pairs].map((list) =>
    list.filter((combination) => combination.transport === transport),
  );
  if (!full) console.log(`skipped: ${all!.length - usual!.length} combinations: npm run test:full`);
  describe.each((full ? all : usual)!)('$name, $cpus vCPUs, $transport, $console', (combination) => {
    test('boots to its login prompt, is what it should be, powers off when asked and keeps what it wrote', async () => {
      const disk = diskNamed(combination.name);
      await using lab = await openLab();
      const before = Math.floor(Date.now() / 1000);
      await bootAndPowerOff(lab, disk, combination);

      const image = await rootOf(lab, disk);
      const check = await lab.exec(['e2fsck', '-fn', image]);
      expect(check).toMatchObject({ exitCode: 0, stdout: expect.not.stringContaining('recovering journal') });
      const proof = await lab.exec(['debugfs', '-R', 'cat /root/proof', image]);
      expect(proof.stdout).toBe('kept by the disk\n');

      const said = await answersOf(lab, disk);
      const { cpus, transport, console } = combination;
      const drivers = [...(console === 'virtio' ? ['virtio_console'] : []), 'virtio_blk', 'virtio_rng'];
      expect(said['virtio']).toBe(drivers.sort().join(' '));
      expect(said['console']!.split(' ').at(-1)).toBe(console === 'virtio' ? 'hvc0' : 'ttyS0');
      if (transport === 'pci') {
        expect(said['pci']).toMatch(/^0x1b36:0x0008 0x1af4:0x1042 0x1af4:0x10/);
        expect(Number(said['messages'])).toBeGreaterThanOrEqual(2);
      } else {
        expect(said['messages']).toBe('0');
        expect(Number(said['lines'])).toBeGreaterThanOrEqual(2);
      }
      expect(said['cpus']).toBe(String(cpus));
      expect(said['topology']).toBe(`Thread(s) per core: 1,Core(s) per socket: ${cpus},Socket(s): 1,`);
      expect(said['clocksource']).toBe('kvm-clock');
      expect(said['errors']).toBe('0');
      await expectTimeline(lab);
      const seconds = Number(said['time']) - before;
      expect(seconds).toBeGreaterThanOrEqual(-5);
      expect(seconds).toBeLessThan(bootTimeout);
    });
  });
}

const timelinePath = '/root/boot.html';

/** One page with nothing from outside, and in it the boot from the process's start to the login prompt, step by step. */
async function expectTimeline(lab: Lab): Promise<void> {
  const { stdout: page } = await lab.exec(['cat', timelinePath]);
  expect(page).not.toMatch(/\b(?:src|href)=|https?:|url\(/);
  const { outcome, endMs, phases, samples } = JSON.parse(
    /<script type="application\/json" id="timeline">(.*?)<\/script>/s.exec(page)![1]!,
  ) as Timeline;
  expect(outcome).toBe('the login prompt');
  const steps = ['inspect disk', 'enter', 'guest: login prompt'];
  const found = [...phases].sort((a, b) => a.startMs - b.startMs).map(({ name }) => name);
  expect(found.filter((name) => steps.includes(name))).toEqual(steps);
  expect(phases.find(({ name }) => name === 'guest: login prompt')!.startMs).toBe(endMs);
  const exits = samples.map((sample) => Object.values(sample.exits).reduce((sum, count) => sum + count, 0));
  expect(exits.at(-1)).toBeGreaterThan(1000);
  expect(exits).toEqual([...exits].sort((a, b) => a - b));
}

/** SIGTERM at the login prompt, once the questions are answered, is the power button. */
async function bootAndPowerOff(lab: Lab, disk: DiskFacts, { cpus, transport, console }: Combination): Promise<void> {
  const options = ['-c', String(cpus), '--transport', transport, '--console', console, '--stop-timeout', '300s'];
  options.push('--timeline', timelinePath);
  const words = `${patient} tsvmm.marker tsvmm.stay ${askedQuestions}`;
  let output = '';
  let errors = '';
  let asked = false;
  const run = lab.start(['node', 'bin/tsvmm.js', 'run', `/images/${disk.name}.img`, ...options, '--append', words], {
    onStdout: (data) => {
      output += data;
      if (asked || !output.includes(`${disk.name} login: `) || !output.includes('TSVMM-EXIT')) return;
      asked = true;
      run.signal('SIGTERM');
    },
    onStderr: (data) => {
      errors += data;
    },
  });
  const late = new Promise<string>((resolve) => setTimeout(resolve, bootTimeout * 1000, 'never ended').unref());
  const exitCode = await Promise.race([run.exited, late]);
  expect({ exitCode, errors, output: output.slice(-2000) }).toMatchObject({ exitCode: 0 });
  expect(output).toContain(`TSVMM-MARKER ${disk.name}`);
  expect(output).toContain('TSVMM-EXIT 0');
  expect(output).toContain(`${disk.name} login: `);
}
