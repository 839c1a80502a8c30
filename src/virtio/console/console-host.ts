/** Main's end of a virtio console: reads the guest's output, offers input. Main thread. */
import { bindConsole, type ConsoleLayout, type ConsoleState } from './console-state.js';

export class ConsoleHost {
  readonly #state: ConsoleState;
  readonly #wakeDataPath: () => void;

  /** `wakeDataPath` rings the I/O worker's doorbell of this machine. */
  constructor(buffer: ArrayBufferLike, layout: ConsoleLayout, wakeDataPath: () => void) {
    this.#state = bindConsole(buffer, layout);
    this.#wakeDataPath = wakeDataPath;
  }

  /** Bytes of output that wait to be read. */
  get outputLength(): number {
    return this.#state.output.length;
  }

  /** Output bytes lost because nobody read in time, modulo 2^32. */
  get droppedBytes(): number {
    return Atomics.load(this.#state.registers.dropped, 0) >>> 0;
  }

  /** Moves guest output into `target` and says how many bytes. */
  readOutput(target: Uint8Array): number {
    const { output, registers } = this.#state;
    const count = output.read(target);
    if (count > 0 && Atomics.exchange(registers.outputWanted, 0, 0) === 1) this.#wakeDataPath();
    return count;
  }

  /** Offers input and says how much was taken; main is woken when there is room for the rest. */
  writeInput(source: Uint8Array): number {
    const { input, registers } = this.#state;
    let taken = input.write(source);
    if (taken < source.length) {
      Atomics.store(registers.inputWanted, 0, 1);
      // Room made between the two would not be announced.
      taken += input.write(source.subarray(taken));
      if (taken === source.length) Atomics.store(registers.inputWanted, 0, 0);
    }
    if (taken > 0) this.#wakeDataPath();
    return taken;
  }
}
