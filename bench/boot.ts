/**
 * Stock Debian cloud kernel and initrd to a user-space marker, in the lab, against QEMU/KVM in the same lab.
 *
 * `guest-*` is from the first KVM_RUN to the marker; `command-*` the whole command. In the lab Node alone takes seconds to
 * start and emulation punishes a JIT (docs/test-beds.md), so the guest's phase is the figure to look at.
 */
import { join } from 'node:path';
import { type Lab, openLab } from '../scripts/lab/index.js';
import type { Bench, Case } from './harness.js';

type Monitor = 'tsvmm' | 'q35' | 'microvm';
interface Figures {
  readonly guest: number;
  readonly whole: number;
}

/** After one that is thrown away: the first boots of a lab find cold caches, and code that QEMU has not translated yet. */
const pairs = 5;
let lab: Promise<Lab> | undefined;
/** Both figures come from one boot: what a case measured first is there for the other. */
const left = new Map<string, number[]>();

async function boot(monitor: Monitor): Promise<Figures> {
  lab ??= openLab({ copy: [{ from: join(process.cwd(), 'bench/lab-boot.js'), to: '/bench/lab-boot.mjs' }] });
  const machine = await lab;
  const { stdout, stderr, exitCode } = await machine.exec(['node', '/bench/lab-boot.mjs', monitor], { timeout: 900 });
  if (exitCode !== 0) throw new Error(`${monitor}: ${stderr}`);
  return JSON.parse(stdout) as Figures;
}

const measure = (monitor: Monitor, figure: keyof Figures, peer: string) => async (): Promise<number> => {
  const kept = left.get(`${monitor} ${figure} ${peer}`)?.shift();
  if (kept !== undefined) return kept;
  const figures = await boot(monitor);
  const other = figure === 'guest' ? 'whole' : 'guest';
  const key = `${monitor} ${other} ${peer}`;
  left.set(key, [...(left.get(key) ?? []), figures[other]]);
  return figures[figure];
};

const against = (peer: 'q35' | 'microvm', figure: keyof Figures): Case => ({
  name: `${figure === 'guest' ? 'guest' : 'command'}-${peer}`,
  unit: 'ms',
  ours: measure('tsvmm', figure, peer),
  peer: { name: `qemu ${peer}`, measure: measure(peer, figure, peer) },
  runs: pairs,
  warmUp: 1,
});

export const bench: Bench = {
  name: 'boot',
  summary: 'stock Debian kernel to user space in the lab, against QEMU/KVM there',
  cases: () => (['q35', 'microvm'] as const).flatMap((peer) => [against(peer, 'guest'), against(peer, 'whole')]),
  async close() {
    await (await lab)?.kill();
  },
};
