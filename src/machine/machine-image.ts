/**
 * A machine at one instant, while it was quiet: what forks, snapshots and restores are made of (design §3). Main thread.
 *
 * Registers of every device are machine state, memory is layers that nobody writes any more, the rest is what KVM gives out.
 * Immutable, and good for any number of machines; its layers stay until the last who holds it lets go.
 */
import { setImmediate } from 'node:timers/promises';
import type { MemoryRegion } from '../devices/memory-map.js';
import { TsvmmError } from '../errors.js';
import type { ClockSave } from '../kvm/clock-save.js';
import type { CpuidEntry } from '../kvm/cpuid-entry.js';
import type { VcpuSave, VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { VmSave } from '../kvm/vm-save.js';
import { type CopyJob, stopJob } from '../memory/copy-job.js';
import type { RamPiece } from '../memory/ram.js';
import type { PlatformShape } from '../virtio/transport/platform.js';
import type { Hardware } from './hardware.js';
import { type Standstill, saveStandstill } from './standstill.js';

/** The parts, of whatever origin. */
export interface MachineParts {
  readonly cpuid: readonly CpuidEntry[];
  readonly shape: PlatformShape;
  /** Machine state; what its threads say to each other in it means nothing here. */
  readonly state: ArrayBufferLike;
  readonly vcpus: readonly VcpuSave[];
  readonly vm: VmSave;
  readonly clock: ClockSave;
  /** Where the guest sees its memory; the pieces are of all of it in a row. */
  readonly regions: readonly MemoryRegion[];
  readonly memory: readonly RamPiece[];
}

export class MachineImage {
  readonly parts: MachineParts;
  #holders = 1;

  /** Holds the layers of its memory, and is held once, by whoever makes it. */
  constructor(parts: MachineParts) {
    this.parts = parts;
    for (const { layer } of parts.memory) layer?.hold();
  }

  hold(): this {
    this.#holders++;
    return this;
  }

  release(): void {
    this.#holders--;
    if (this.#holders > 0) return;
    for (const { layer } of this.parts.memory) layer?.release();
  }
}

/** Bytes of memory frozen between two turns of the event loop: a millisecond or two. */
const freezeStep = 4 * 2 ** 20;
/** Chunks that are worth waking other threads for. */
const manyChunks = 4;

/**
 * Of a machine whose vCPUs are parked and whose devices are quiet, as it was when it came to stand still. Rejects, and nothing
 * has changed, where it cannot be, or if it ends meanwhile: what its descriptors are by then is not to be asked.
 */
export async function captureMachine(
  hardware: Hardware,
  vcpuFds: readonly number[],
  facts: VcpuSaveFacts,
  still: Standstill,
  isClosing: () => boolean,
  help: (job: CopyJob) => Promise<void>,
): Promise<MachineImage> {
  const { plan, ram } = hardware;
  const stay = (): void => {
    if (isClosing()) throw new TsvmmError('ERR_TSVMM_STATE', 'the machine has ended meanwhile');
  };
  stay();
  const job = ram.beginFreeze();
  const helped = job.chunks.length / 2 > manyChunks ? help(job) : Promise.resolve();
  helped.catch(() => {}); // awaited below
  const alive = setInterval(() => {}, 1000); // the program, whose other threads may be all that is at work
  try {
    for (; !ram.copyFreeze(freezeStep); stay()) await setImmediate();
    await helped;
    stay();
    ram.endFreeze();
  } catch (error) {
    stopJob(job);
    const failure: unknown = await helped.catch((reason) => reason); // the first one is what counts
    // A thread that is stuck may still write to the file: it goes with the machine, when that thread has left.
    if (!(failure instanceof TsvmmError && failure.code === 'ERR_TSVMM_TIMEOUT')) ram.abandonFreeze();
    throw error;
  } finally {
    clearInterval(alive);
  }
  return new MachineImage({
    cpuid: plan.cpuid,
    shape: plan.platform.shape,
    ...saveStandstill(still, hardware, vcpuFds, facts),
    clock: still.clocks.clock,
    regions: plan.ram,
    memory: ram.pieces,
  });
}
