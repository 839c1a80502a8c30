/**
 * How long snapshots, restores and forks of tiny guests take, and what forks cost in memory.
 *
 * A restore ends when its guest runs (`...-opened`: from a snapshot that the program has opened before, as one would that
 * makes many machines of it); it happens in a running process that has warm workers, and so QEMU, the peer, has been
 * started and waits for what it is to go on from. Each is also told by its phases: `...-open` is all that comes before the machine
 * is made. A pause is what the guest itself sees (bench/guests/gaps.c). A snapshot is written when the file system has it.
 */
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { prewarm, type Snapshot, VirtualMachine } from 'tsvmm';
import { type Bench, type Case, type Measure, whyNoKvm, whyNoQemu } from './harness.js';
import { Qemu } from './peers/qemu-migration.js';
import { command, nodeAlone } from './support/command.js';
import { footprint, unit as memoryUnit } from './support/footprint.js';
import { GapsGuest, pageBytes } from './support/gaps.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const guest = join(root, 'build/guests/halt.elf');
const gaps = join(root, 'build/guests/gaps.elf');
const awake = join(root, 'build/guests/awake.elf');
/** Longer than that guest takes for no time. */
const awakeMs = 1000;
const child = join(root, 'bench/snapshot-child.js');
const MiB = 2 ** 20;
const manyForks = 100;
const memoryRuns = 3;
/** Of a figure that is less than the clock can tell. */
const leastMs = 0.001;

let folder = '';
let places = 0;
/** A path in the folder of this run, on the file system of the project. */
function place(): string {
  if (folder === '') {
    mkdirSync(join(root, '.cache/bench'), { recursive: true });
    folder = mkdtempSync(join(root, '.cache/bench/snapshot-'));
  }
  return join(folder, `${places++}`);
}

/** What is made for several figures once, and ended with the bench. */
const kept: AsyncDisposable[] = [];
function once<T extends AsyncDisposable>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().then((thing) => {
      kept.push(thing);
      return thing;
    });
    return made;
  };
}

async function timed(task: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await task();
  return performance.now() - begun;
}

async function withPool<T>(vcpus: number, task: () => Promise<T>): Promise<T> {
  const pool = await prewarm({ vcpus });
  try {
    return await task();
  } finally {
    await pool[Symbol.asyncDispose]();
  }
}

const sleepingGuest = (memoryMiB: number) => async (): Promise<VirtualMachine> => {
  const vm = await VirtualMachine.start({ memory: `${memoryMiB}M`, boot: { kernel: guest } });
  await vm.console.waitFor('sleeping');
  return vm;
};

/** The phases of a restore, and what comes before them. */
const phaseNames = ['open', 'start workers', 'create machine', 'create vCPUs', 'revive', 'enter'] as const;
type Restored = Readonly<Record<'whole' | (typeof phaseNames)[number], number>>;

async function restore(from: string | Snapshot): Promise<Restored> {
  return withPool(1, async () => {
    const begun = performance.now();
    await using vm = await VirtualMachine.restore(from);
    const whole = performance.now() - begun;
    const end = Math.max(...vm.phases.map(({ startMs, durationMs }) => startMs + durationMs));
    const took = (name: string): number =>
      Math.max(vm.phases.find((phase) => phase.name === name)?.durationMs ?? Number.NaN, leastMs);
    const phases = Object.fromEntries(phaseNames.slice(1).map((name) => [name, took(name)]));
    return { ...phases, open: Math.max(whole - end, leastMs), whole } as Restored;
  });
}

function restoreCases(label: string, memoryMiB: number): Case[] {
  const snapshot = once(async () => {
    await using vm = await sleepingGuest(memoryMiB)();
    return await vm.snapshot(place());
  });
  const file = place();
  let saved: Promise<number> | undefined;
  const theirs = async (): Promise<number> => {
    saved ??= (async () => {
      await using qemu = await Qemu.start({ kernel: guest, memoryMiB }, { until: 'sleeping', serial: place() });
      return await qemu.save(file);
    })();
    await saved;
    await using qemu = await Qemu.start({ kernel: guest, memoryMiB });
    return await qemu.restore(file);
  };
  // The phases are those of the restores that the first case has measured.
  const taken: Restored[] = [];
  const ours = async (): Promise<number> => {
    taken.push(await restore((await snapshot()).directory));
    return taken.at(-1)!.whole;
  };
  const phase = (name: (typeof phaseNames)[number]): Measure => {
    let next = 0;
    return async () => {
      if (taken[next] === undefined) await ours();
      return taken[next++]![name];
    };
  };
  return [
    { name: label, unit: 'ms', ours, peer: { name: 'qemu, waiting', measure: theirs } },
    { name: `${label}-opened`, unit: 'ms', ours: async () => (await restore(await snapshot())).whole },
    ...phaseNames.map((name) => ({ name: `${label}-${name.replaceAll(' ', '-')}`, unit: 'ms', ours: phase(name) })),
  ];
}

/** Of a guest that ends when it finds that time has passed. */
const waiting = once(async () => {
  await using vm = await VirtualMachine.start({ memory: '128M', boot: { kernel: awake } });
  await vm.console.waitFor('awake: waiting');
  await vm.pause(); // it must not see that it is forked
  return await vm.snapshot(place());
});
/** From nothing to the end of that guest. */
const restoreCommand = async (): Promise<number> => {
  const { directory, createdAt } = await waiting();
  await delay(Math.max(0, createdAt.getTime() + awakeMs - Date.now()));
  const tsvmm = join(root, 'bin/tsvmm.js');
  return command(process.execPath, [tsvmm, 'restore', directory], { prints: 'awake: again' });
};

const writtenMiB = 50;
const writtenPages = (writtenMiB * MiB) / pageBytes;
const gapsGuest = once(() => GapsGuest.start('256M', writtenPages));
const muchMiB = 512;
const bigGuest = once(() => GapsGuest.start('1024M', (muchMiB * MiB) / pageBytes));

/** What the guest sees of `task`, when it has written so much since the last one. `task` answers what is to be done then. */
const pause =
  (task: (vm: VirtualMachine) => Promise<() => unknown>, dirtyMiB: number, machine = gapsGuest): Measure =>
  async () => {
    const guest = await machine();
    return withPool(1, async () => {
      await (await guest.vm.fork())[Symbol.asyncDispose](); // from here on what it writes is new
      if (dirtyMiB > 0) await guest.writePages((dirtyMiB * MiB) / pageBytes);
      let after: (() => unknown) | undefined;
      const took = await guest.longestGap(async () => {
        after = await task(guest.vm);
      });
      await after?.();
      return took;
    });
  };

async function forked(vm: VirtualMachine): Promise<() => unknown> {
  const child = await vm.fork();
  return () => child.kill();
}

const sleeper = once(sleepingGuest(128));
async function fork(): Promise<number> {
  const parent = await sleeper();
  return withPool(1, async () => {
    let child: VirtualMachine | undefined;
    const took = await timed(async () => {
      child = await parent.fork();
    });
    await child?.kill();
    return took;
  });
}

async function forkMany(): Promise<number> {
  const parent = await sleeper();
  return withPool(manyForks, async () => {
    let children: VirtualMachine[] = [];
    const took = await timed(async () => {
      children = await parent.fork({ count: manyForks });
    });
    await Promise.all(children.map((child) => child.kill()));
    return took;
  });
}

let lastSnapshot: Snapshot | undefined;
/**
 * A difference to the one before, but for the first. What it makes the guest wait for is over when it begins to write; that
 * then competes with the guest for processors is another matter.
 */
async function difference(vm: VirtualMachine): Promise<() => unknown> {
  const before = lastSnapshot;
  let taking: Promise<Snapshot> | undefined;
  const writes = new Promise<void>((resolve) => {
    taking = vm.snapshot(place(), { diffFrom: before, onProgress: () => resolve() });
  });
  await Promise.race([taking, writes]);
  return async () => {
    lastSnapshot = await taking;
    await before?.[Symbol.asyncDispose]();
  };
}

/** Of a guest that has written 50 MiB: until the file system has it. */
async function writeWhole(): Promise<number> {
  const { vm } = await writingGuest();
  const directory = place();
  let snapshot: Snapshot | undefined;
  const took = await timed(async () => {
    snapshot = await vm.snapshot(directory);
  });
  await snapshot![Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
  return took;
}
const writingGuest = once(async () => {
  const guest = await GapsGuest.start('256M', writtenPages);
  await guest.writePages(writtenPages);
  await guest.vm.pause();
  return guest;
});

async function writeByQemu(): Promise<number> {
  const file = place();
  const guest = { kernel: gaps, memoryMiB: 256, cmdline: `pages=${writtenPages}` };
  await using qemu = await Qemu.start(guest, { until: 'gaps: control', serial: place() });
  const took = await qemu.save(file);
  if (statSync(file).size < writtenMiB * MiB) throw new Error('QEMU has written less than its guest had');
  rmSync(file);
  return took;
}

const bytes = async (role: string, count: number): Promise<number> =>
  (await footprint([process.execPath, child, role, String(count)], 'ready')).bytes;
/** What one more costs: so many and the first are measured. */
const marginal = (role: string) => async (): Promise<number> =>
  ((await bytes(role, manyForks)) - (await bytes(role, 1))) / (manyForks - 1) / MiB;
const memory = (name: string, ours: Measure): Case => ({ name, unit: memoryUnit, ours, runs: memoryRuns, warmUp: 0 });

export const bench: Bench = {
  name: 'snapshot',
  summary: 'restores, snapshots and forks of tiny guests, against QEMU and its migration to a file',
  unavailable: async () => whyNoKvm() ?? whyNoQemu(),
  cases: () => [
    ...restoreCases('restore-128MiB', 128),
    ...restoreCases('restore-4GiB', 4096),
    { name: 'restore-command', unit: 'ms', ours: restoreCommand, peer: nodeAlone },
    {
      name: `snapshot-${writtenMiB}MiB`,
      unit: 'ms',
      ours: writeWhole,
      peer: { name: 'qemu stop, migrate, sync', measure: writeByQemu },
      runs: 7,
    },
    { name: 'fork', unit: 'ms', ours: fork },
    { name: 'fork-pause', unit: 'ms', ours: pause(forked, 0) },
    { name: 'fork-pause-10MiB', unit: 'ms', ours: pause(forked, 10) },
    { name: `fork-pause-${muchMiB}MiB`, unit: 'ms', ours: pause(forked, muchMiB, bigGuest), runs: 5, warmUp: 1 },
    { name: `diff-${writtenMiB}MiB`, unit: 'ms', ours: pause(difference, writtenMiB), runs: 7 },
    { name: `fork-${manyForks}`, unit: 'ms', ours: forkMany, runs: 5, warmUp: 1 },
    memory(`fork-${manyForks}-pool`, async () => (await bytes('pool', manyForks)) / MiB),
    memory('fork-memory', marginal('forks')),
  ],
  async close() {
    if (lastSnapshot !== undefined) kept.push(lastSnapshot);
    for (const thing of kept.reverse()) await thing[Symbol.asyncDispose]();
    if (folder !== '') rmSync(folder, { recursive: true, force: true });
  },
};
