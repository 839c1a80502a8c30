/**
 * Keeps what a file was when it was frozen, while it goes on being written: before a request changes a unit, what is there
 * goes into the store of the file's newest instant (disk/history.ts). The I/O worker.
 *
 * It is done in the slot of the request that wants to write, which waits for it and then goes on. Two requests never copy the
 * same unit: the second could read what the first has written by then. What cannot be kept is lost for those who read that
 * instant, with a warning; the file's own machine never fails for their sake.
 *
 * There is no new instant while a copy is under way: a disk is frozen when nothing of it is, and has another keeper then.
 */
import type { OpenFileDisk } from '../../disk/disk-map.js';
import { History, type OpenHistory, unitBytes } from '../../disk/history.js';
import { writtenSectors } from '../../disk/overlay-written.js';
import { sectorSize } from '../../disk/sector-bits.js';
import { DIRECT, Operation } from '../../host/engine-slots.js';
import { Errno, errnoName } from '../../host/errno.js';
import { freeArrays } from '../../host/free-arrays.js';
import { HostBlock } from '../../host/host-block.js';
import type { DataPathHost } from '../device.js';

/** Units copied by one operation, at most. */
const runUnits = 4;
const runBytes = runUnits * unitBytes;
const sectorsPerUnit = unitBytes / sectorSize;
const pageSize = 4096;

const Step = { none: 0, reads: 1, writes: 2, waits: 3 } as const;

/** The file that is kept. */
interface Source {
  readonly fd: number;
  readonly flags: number;
  /** Whether anything of it is in a unit. */
  has(unit: number): boolean;
}

export interface CopyingBackend {
  /** A request that was held back is to be tried again. */
  goOn(request: number): void;
}

export class CopyBeforeWrite {
  readonly #history: History;
  readonly #size: number;
  readonly #source: Source;
  readonly #offsets: Float64Array;
  readonly #backend: CopyingBackend;
  readonly #host: DataPathHost;
  /** A place for each request. */
  readonly #block: HostBlock;
  readonly #bytes: Buffer;
  readonly #zeroes = Buffer.alloc(runBytes);
  /** Requests that copy, and those that wait for one which does. */
  #copying = 0;
  #waiting = 0;

  // One request each: what it does, the units that it copies, and how far it is.
  readonly #step: Uint8Array;
  readonly #from: Float64Array;
  readonly #to: Float64Array;
  readonly #done: Int32Array;
  readonly #length: Int32Array;

  /** `offsets` are of requests, by their numbers. */
  constructor(
    history: OpenHistory,
    disk: OpenFileDisk,
    offsets: Float64Array,
    host: DataPathHost,
    backend: CopyingBackend,
  ) {
    const requests = offsets.length;
    this.#history = new History(history);
    this.#size = history.size;
    this.#source = sourceOf(disk);
    this.#offsets = offsets;
    this.#host = host;
    this.#backend = backend;
    this.#block = new HostBlock(requests * runBytes);
    this.#bytes = Buffer.from(this.#block.buffer);
    this.#step = new Uint8Array(requests);
    this.#from = new Float64Array(requests);
    this.#to = new Float64Array(requests);
    this.#done = new Int32Array(requests);
    this.#length = new Int32Array(requests);
  }

  /** Whether a request must not change the `bytes` from its offset on yet. Then `goOn` is called for it. */
  holdsBack(request: number, bytes: number): boolean {
    const history = this.#history;
    if (!history.keeps) return false;
    const offset = this.#offsets[request]!;
    const end = Math.min(Math.ceil((offset + bytes) / unitBytes), history.units);
    for (let unit = Math.floor(offset / unitBytes); unit < end; unit++) {
      if (history.hasKept(unit)) continue;
      if (this.#source.has(unit)) {
        this.#begin(request, unit, end);
        return true;
      }
      history.kept(unit, unit + 1); // nobody looks for it here
    }
    return false;
  }

  /** What the request's slot does is ours. */
  copies(request: number): boolean {
    const step = this.#step[request]!;
    return step === Step.reads || step === Step.writes;
  }

  onCompletion(request: number, result: number): void {
    const done = this.#done[request]! + result;
    if (result <= 0) {
      this.#lose(result === 0 ? Errno.EIO : -result);
      this.#end(request);
    } else if (done < this.#length[request]!) {
      this.#done[request] = done;
      this.#transfer(request);
    } else if (this.#step[request] === Step.reads && !this.#isZero(request, done)) {
      this.#step[request] = Step.writes;
      this.#done[request] = 0;
      this.#transfer(request);
    } else {
      this.#history.kept(this.#from[request]!, this.#to[request]!);
      this.#end(request);
    }
  }

  /** A request that copied ends, and does not go on. */
  drop(request: number): void {
    this.#step[request] = Step.none;
    this.#copying--;
  }

  /** Takes a request that waits, which has nothing under way; -1 when there is none. */
  takeWaiting(): number {
    if (this.#waiting === 0) return -1;
    const request = this.#step.indexOf(Step.waits);
    this.#leave(request);
    return request;
  }

  /** Nothing is under way. */
  close(): void {
    this.#block.close();
    freeArrays(this.#step, this.#from, this.#to, this.#done, this.#length);
  }

  #begin(request: number, unit: number, end: number): void {
    if (this.#isBeingCopied(unit)) {
      this.#step[request] = Step.waits;
      this.#waiting++;
      return;
    }
    let to = unit + 1;
    const last = Math.min(end, unit + runUnits);
    while (to < last && !this.#history.hasKept(to) && this.#source.has(to) && !this.#isBeingCopied(to)) to++;
    this.#copying++;
    this.#step[request] = Step.reads;
    this.#from[request] = unit;
    this.#to[request] = to;
    this.#done[request] = 0;
    this.#length[request] = Math.min(to * unitBytes, this.#size) - unit * unitBytes;
    this.#transfer(request);
  }

  #isBeingCopied(unit: number): boolean {
    if (this.#copying === 0) return false;
    for (let i = 0; i < this.#step.length; i++)
      if (this.copies(i) && this.#from[i]! <= unit && unit < this.#to[i]!) return true;
    return false;
  }

  /** What is left of the file's units, or to their store. */
  #transfer(request: number): void {
    const { slots } = this.#host;
    const done = this.#done[request]!;
    const length = this.#length[request]! - done;
    slots.address[request] = this.#block.address + request * runBytes + done;
    slots.offset[request] = this.#from[request]! * unitBytes + done;
    if (this.#step[request] === Step.reads) {
      const { fd, flags } = this.#source;
      slots.begin(request, Operation.read, fd, length, flags, length);
      return;
    }
    const brief = this.#history.writesBriefly && done % pageSize === 0 && length % pageSize === 0;
    const write = brief ? Operation.briefWrite : Operation.write;
    slots.begin(request, write, this.#history.store, length, 0, length);
  }

  /** A store is a hole where nothing is written: it stays as sparse as the file. */
  #isZero(request: number, length: number): boolean {
    const at = request * runBytes;
    return this.#bytes.compare(this.#zeroes, 0, length, at, at + length) === 0;
  }

  #lose(errno: number): void {
    if (!this.#history.keeps) return;
    this.#history.lose(errno);
    const message = `what this disk was when it was copied cannot be kept (${errnoName(errno)}): its copies cannot read what changes from now on`;
    this.#host.warn('host', message);
  }

  #end(request: number): void {
    this.drop(request);
    this.#backend.goOn(request);
    for (let i = 0; i < this.#step.length && this.#waiting > 0; i++)
      if (this.#step[i] === Step.waits) {
        this.#leave(i);
        this.#backend.goOn(i); // and may wait again, for another
      }
  }

  #leave(request: number): void {
    this.#step[request] = Step.none;
    this.#waiting--;
  }
}

function sourceOf(disk: OpenFileDisk): Source {
  switch (disk.kind) {
    case 'file':
      return { fd: disk.fd, flags: disk.direct === undefined ? 0 : DIRECT, has: () => true };
    case 'overlay': {
      const sectors = writtenSectors(disk.written, disk.size);
      const count = disk.size / sectorSize;
      const has = (unit: number): boolean =>
        sectors.hasAny(unit * sectorsPerUnit, Math.min((unit + 1) * sectorsPerUnit, count));
      return { fd: disk.overlay, flags: 0, has };
    }
    case 'frozen':
      throw new Error('what is frozen is not written');
  }
}
