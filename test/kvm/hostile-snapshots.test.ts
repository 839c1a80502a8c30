/**
 * Snapshots by somebody who knows how they are written: every digest is right, and what is in the sections is not. Whatever they
 * say, a restore is refused, or gives a machine that runs or ends by itself; this program and its other machines go on.
 */
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { TsvmmError, VirtualMachine } from 'tsvmm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { effort } from '../support/effort.js';
import { scratchFolder } from './support/disks.js';
import { holdings, startGuest, whyNoKvm } from './support/guests.js';
import { call, endLife, say, startLife } from './support/lives.js';

const scratch = scratchFolder();
let numbers = 0;
const place = (): string => scratch.path(`hostile${++numbers}`);
const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

interface Section {
  readonly name: string;
  readonly length: number;
  sha256: string;
}
interface Manifest {
  readonly state: readonly Section[];
  readonly machine: { shape: unknown };
  readonly memory: { regions: object[]; pieces: object[]; sha256: string };
  sha256?: string;
}

/** A copy in which `change` was at work, and all digests are made anew. */
function forged(
  from: string,
  change: (manifest: Manifest, section: (name: string) => Buffer, directory: string) => void,
): string {
  const directory = place();
  cpSync(from, directory, { recursive: true });
  const file = join(directory, 'manifest.json');
  const { sha256: _, ...manifest } = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
  const state = readFileSync(join(directory, 'state.bin'));
  const at = new Map<string, Buffer>();
  let offset = 0;
  for (const { name, length } of manifest.state) {
    at.set(name, state.subarray(offset, offset + length));
    offset += length;
  }
  change(manifest, (name) => at.get(name)!, directory);
  for (const section of manifest.state) section.sha256 = sha256(at.get(section.name)!);
  writeFileSync(join(directory, 'state.bin'), state);
  const content = JSON.stringify(manifest, null, 2).slice(0, -'\n}'.length);
  writeFileSync(file, `${content},\n  "sha256": "${sha256(content)}"\n}\n`);
  return directory;
}

/** As long as it takes for most that goes wrong to go wrong. */
const patience = 60;

async function tryToLive(directory: string): Promise<string> {
  let vm: VirtualMachine;
  try {
    vm = await VirtualMachine.restore(directory);
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
    expect(['ERR_TSVMM_SNAPSHOT', 'ERR_TSVMM_KVM_IOCTL', 'ERR_TSVMM_GUEST']).toContain((error as TsvmmError).code);
    return (error as TsvmmError).code;
  }
  vm.console.resume();
  await Promise.race([vm.exited, delay(patience)]);
  const { state } = vm;
  await vm.kill();
  return state;
}

const snapshots = new Map<string, string>();
let other: VirtualMachine;

describe.skipIf(whyNoKvm !== undefined)('a forged snapshot', () => {
  beforeAll(async () => {
    other = await startLife();
    await using life = await startLife({ cpus: 2, memory: '32M' });
    await say(life);
    await using mmio = await startLife({ transport: 'mmio', memory: '32M' });
    await using console = await startGuest('virtio-console', { console: { device: 'virtio' }, memory: '32M' });
    await console.console.waitFor('hello from virtio-console', { timeout: '60s' });
    for (const [name, vm] of Object.entries({ life, mmio, console })) {
      await using snapshot = await vm.snapshot(place());
      snapshots.set(name, snapshot.directory);
    }
  });
  afterAll(async () => {
    await endLife(other);
  });

  const names = ['life', 'mmio', 'console'] as const;
  const sections = ['machine-state', 'clock', 'pit', 'ioapic', 'pic-master', 'cpuid'];
  const parts = ['mp-state', 'regs', 'sregs', 'xsave', 'xcrs', 'debugregs', 'lapic', 'msrs', 'events'];
  const names0 = [...sections, 'machine-state', 'machine-state', ...parts.map((part) => `vcpu0.${part}`)];
  const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
  /** Of machine state most is rings; registers lie at its ends. */
  const where = fc.oneof(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 0.01, noNaN: true }),
    fc.double({ min: 0.97, max: 1, noNaN: true }),
  );
  const change = fc.record({
    section: fc.constantFrom(...names0),
    where,
    bytes: fc.array(byte, { minLength: 1, maxLength: 16 }),
  });

  test('of bytes that mean anything at all harms nobody', async () => {
    const before = holdings();
    const seen = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        async (name, changes) => {
          const directory = forged(snapshots.get(name)!, (_, section) => {
            for (const { section: which, where, bytes } of changes) {
              const target = section(which);
              const at = Math.floor(where * (target.length - 1));
              target.set(bytes.slice(0, target.length - at), at);
            }
          });
          const what = await tryToLive(directory);
          seen.set(what, (seen.get(what) ?? 0) + 1);
        },
      ),
      { numRuns: effort(30), endOnFailure: true },
    );
    expect(seen.size).toBeGreaterThan(1); // some are refused, some live
    await call(other, 'still');
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds + 24); // workers that are kept
  });

  test.each<[string, (manifest: Manifest, directory: string) => void]>([
    [
      'that has hardly any memory',
      (manifest, directory) => {
        Object.assign(manifest.memory, { regions: [{ start: 0, size: 4096 }], pieces: [{ length: 4096, layer: 0 }] });
        truncateSync(join(directory, 'memory.bin'), 4096);
        truncateSync(join(directory, 'memory.hashes'), 32);
        manifest.memory.sha256 = sha256(readFileSync(join(directory, 'memory.hashes')));
        (manifest.machine.shape as { ram: number }).ram = 4096;
      },
    ],
    [
      'whose shape is none',
      ({ machine }) => {
        machine.shape = null;
      },
    ],
    [
      'whose devices are none',
      ({ machine }) => {
        (machine.shape as { virtio: unknown }).virtio = [null];
      },
    ],
    [
      'that had another device',
      ({ machine }) => {
        (machine.shape as { virtio: { deviceType: number }[] }).virtio[0]!.deviceType = 2;
      },
    ],
    [
      'that had another feature',
      ({ machine }) => {
        (machine.shape as { virtio: { features: number[] }[] }).virtio[0]!.features = [0, 0];
      },
    ],
    [
      'that had other rings',
      ({ machine }) => {
        (machine.shape as { serial: { outputCapacity: number } }).serial.outputCapacity = 2 ** 31;
      },
    ],
  ])('%s is refused, and is no danger', async (_, change) => {
    const directory = forged(snapshots.get('life')!, (manifest, _section, directory) => change(manifest, directory));
    expect(await tryToLive(directory)).toBe('ERR_TSVMM_SNAPSHOT');
    await call(other, 'alive');
  });

  test('that is forged in nothing is the snapshot that it was', async () => {
    await using vm = await VirtualMachine.restore(forged(snapshots.get('life')!, () => {}));
    await say(vm);
    await call(other, 'unmoved');
  });
});
