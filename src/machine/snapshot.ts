/**
 * `Snapshot`: a machine that was written to a directory, to look into and to restore from. Main thread.
 *
 * What is in the directory may come from anywhere: it is checked when it is opened (src/snapshot). No guest runs meanwhile and
 * no KVM is needed.
 */
import { constants } from 'node:buffer';
import { isUint8Array } from 'node:util/types';
import { openSnapshot } from '../snapshot/load-snapshot.js';
import type { OpenSnapshot } from '../snapshot/open-snapshot.js';
import { bad, integer, type Path, path } from './checks.js';
import type { GuestMemory } from './guest-memory-api.js';
import { show } from './units.js';

export interface CrashDumpOptions {
  signal?: AbortSignal | undefined;
  /** Bytes of RAM that are done with, of how many. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

const token = Symbol('Snapshot');

export class Snapshot implements AsyncDisposable {
  /** @internal esbuild renames a class that names itself. */
  static readonly name = 'Snapshot';
  /** @internal What a machine is restored from. */
  readonly opened: OpenSnapshot;
  /** Its real path. */
  readonly directory: string;
  /** The moment that it shows. */
  readonly createdAt: Date;
  /** RAM as it was: copies, read from the file when they are asked for. */
  readonly memory: Omit<GuestMemory, 'write' | 'touched' | 'load'>;

  private constructor(key: symbol, opened: OpenSnapshot) {
    if (key !== token) throw new TypeError('use Snapshot.open(directory)');
    this.opened = opened;
    this.directory = opened.directory;
    this.createdAt = new Date(opened.manifest.createdAt);
    this.memory = memoryOf(opened);
  }

  /**
   * Opens the snapshot in a directory, which stays as it is. Rejects with `ERR_TSVMM_SNAPSHOT` when there is none, or one that
   * is damaged, of another version of tsvmm, or a difference to one that is not there any more.
   */
  static async open(directory: Path): Promise<Snapshot> {
    return new Snapshot(token, await openSnapshot(path('Snapshot.open', directory)));
  }

  /**
   * The registers of a vCPU: `rax` to `r15`, `rip`, `rflags`; `cs` and the others, which are selectors, with what the processor
   * held of their descriptors, `cs_base` and `cs_limit`; `gdt_base`, `idt_limit`; `cr0` to `cr8`, `efer`, `apic_base`.
   */
  registers(cpu: number): Record<string, bigint> {
    return this.opened.registers(integer('registers', cpu, 0, this.opened.vcpus - 1)).all();
  }

  /**
   * Writes an ELF core file for gdb and crash: registers, and RAM by its guest-physical addresses, sparse. RAM is compared with
   * what was written. The file must not exist; when this rejects, nothing is left of it.
   */
  async writeCrashDump(file: Path, options: CrashDumpOptions = {}): Promise<void> {
    const place = path('writeCrashDump', file);
    const { writeCrashDump } = await import('../snapshot/crash-dump.js');
    await writeCrashDump(this.opened, place, options);
  }

  /** Closes its files. Machines that were restored from it go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.opened[Symbol.asyncDispose]();
  }
}

function memoryOf(opened: OpenSnapshot): Omit<GuestMemory, 'write' | 'touched' | 'load'> {
  const { regions } = opened.manifest.memory;
  /** Where in RAM a guest-physical range is. */
  const locate = (address: number, length: number): number => {
    let offset = 0;
    for (const { start, size } of regions) {
      // This form also refuses NaN, negative and huge values.
      if (address >= start && length >= 0 && address - start <= size - length && Number.isSafeInteger(address))
        return offset + address - start;
      offset += size;
    }
    const ranges = regions.map(({ start, size }) => `0x${start.toString(16)}-0x${(start + size - 1).toString(16)}`);
    throw bad(
      `memory: ${show(length)} bytes at ${typeof address === 'number' ? `0x${address.toString(16)}` : show(address)} are not all guest RAM`,
      `RAM is ${ranges.join(' and ')}; an access may not cross from one range to another`,
    );
  };
  return {
    size: opened.memorySize,
    regions: regions.map(({ start, size }) => ({ start, size })),
    read(address, length) {
      const offset = locate(address, integer('memory.read', length, 0, constants.MAX_LENGTH));
      const copy = Buffer.alloc(length);
      opened.readMemory(offset, copy);
      return copy;
    },
    readInto(address, target) {
      if (!isUint8Array(target)) throw bad('memory.readInto: expected a Uint8Array', 'pass a Buffer or Uint8Array');
      opened.readMemory(locate(address, target.length), target);
    },
  };
}
