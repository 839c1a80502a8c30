/**
 * The console device: virtio 1.2 §5.3, one port, with its size. The I/O worker.
 *
 * Bytes go to and come from rings that main shares. When nobody reads the output it is dropped and counted, or the
 * driver's buffers stay in their queue until there is room: whoever made the console has chosen.
 */
import { freeArrays } from '../../host/free-arrays.js';
import type { DataPath, DataPathHost } from '../device.js';
import type { SplitQueue } from '../queue/split-queue.js';
import { copyToChain } from '../queue/transfer.js';
import { ConsoleCounter, ConsoleQueue } from './console-format.js';
import { bindConsole, type ConsoleLayout, type ConsoleState } from './console-state.js';

/** Views of guest memory end at this length. */
const viewLimit = 0x10_0000;

export class ConsoleDevice implements DataPath {
  /** Nothing here waits for the kernel. */
  readonly slotCount = 0;
  readonly #state: ConsoleState;
  readonly #received: Uint8Array;
  #host!: DataPathHost;

  constructor(buffer: ArrayBufferLike, layout: ConsoleLayout) {
    this.#state = bindConsole(buffer, layout);
    this.#received = new Uint8Array(layout.inputCapacity);
  }

  attach(host: DataPathHost): void {
    this.#host = host;
  }

  activate(): void {}

  onChain(queue: SplitQueue, index: number): boolean {
    return index === ConsoleQueue.receive ? this.#receive(queue) : this.#transmit(queue);
  }

  /** Main has written input or made room for output. */
  onWake(): void {
    if (this.#state.input.length > 0) this.#host.serve(ConsoleQueue.receive);
    if (this.#state.blockWhenFull) this.#host.serve(ConsoleQueue.transmit);
  }

  onCompletion(): void {}

  stop(): void {}

  close(): void {
    freeArrays(this.#received);
  }

  /** Fills one of the driver's buffers with what there is; without input the buffer stays where it is. */
  #receive(queue: SplitQueue): boolean {
    const { input, registers } = this.#state;
    const { chain } = queue;
    const count = Math.min(input.length, chain.writableBytes);
    if (count === 0 && chain.writableBytes > 0) return false;
    const bytes = this.#received.subarray(0, count);
    input.read(bytes);
    copyToChain(this.#host.memory, chain, 0, bytes);
    queue.push(chain.head, count);
    this.#host.counters[ConsoleCounter.bytesIn]! += count;
    if (count > 0 && Atomics.exchange(registers.inputWanted, 0, 0) === 1) this.#host.wakeMain();
    return true;
  }

  /** Output of one of the driver's buffers, whole or not at all if the guest is to wait. */
  #transmit(queue: SplitQueue): boolean {
    const { chain } = queue;
    if (this.#state.blockWhenFull && !this.#hasRoom(chain.readableBytes)) return false;
    const { memory, counters } = this.#host;
    const { output } = this.#state;
    let written = 0;
    segments: for (let i = 0; i < chain.readableCount; i++) {
      const length = chain.length[i]!;
      for (let at = 0; at < length; ) {
        const count = Math.min(length - at, viewLimit);
        const taken = output.write(memory.view(chain.guest[i]! + at, count)!);
        written += taken;
        if (taken < count) break segments; // full: nothing behind it fits
        at += taken;
      }
    }
    this.#drop(chain.readableBytes - written);
    counters[ConsoleCounter.bytesOut]! += written;
    queue.push(chain.head, 0);
    if (written > 0) this.#host.wakeMain();
    return true;
  }

  /** A buffer larger than the whole ring is taken when the ring is empty; what does not fit is lost. */
  #hasRoom(bytes: number): boolean {
    const { output, registers } = this.#state;
    const needed = Math.min(bytes, output.capacity);
    if (output.space >= needed) return true;
    Atomics.store(registers.outputWanted, 0, 1);
    // Room made between the two would not be announced.
    return output.space >= needed;
  }

  #drop(bytes: number): void {
    if (bytes === 0) return;
    Atomics.add(this.#state.registers.dropped, 0, bytes | 0);
    this.#host.counters[ConsoleCounter.dropped]! += bytes;
  }
}
