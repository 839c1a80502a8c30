/**
 * The host's end of the serial cable. Main thread.
 *
 * Reading output and offering input need no lock: they are the far ends of two rings. `settle` changes what the guest
 * sees (receive FIFO, interrupt line) and runs with the machine lock held; main only tries for that lock, so it asks
 * `unsettled` and tries again later.
 */
import { bindSerial, type SerialLayout, type SerialState } from './serial-registers.js';
import { fillReceiver, resumeTransmitter, transmitterReady, updateLine } from './serial-state.js';
import type { SetLine } from './wires.js';

export class SerialHost {
  readonly #state: SerialState;
  readonly #setLine: SetLine;
  #offered = false;

  constructor(buffer: ArrayBufferLike, layout: SerialLayout, setLine: SetLine) {
    this.#state = bindSerial(buffer, layout);
    this.#setLine = setLine;
  }

  /** Bytes of output that wait to be read. */
  get outputLength(): number {
    return this.#state.output.length;
  }

  /** Output bytes lost because nobody read in time, modulo 2^32. */
  get droppedBytes(): number {
    return Atomics.load(this.#state.registers.dropped, 0) >>> 0;
  }

  /** Moves guest output into `target` and says how many bytes. No lock. Then ask `unsettled`. */
  readOutput(target: Uint8Array): number {
    return this.#state.output.read(target);
  }

  /**
   * Offers input and says how much was taken; main is woken when there is room for the rest. No lock. Then `settle`.
   */
  writeInput(source: Uint8Array): number {
    const { input, registers } = this.#state;
    let taken = input.write(source);
    if (taken < source.length) {
      Atomics.store(registers.inputWanted, 0, 1);
      // Room made between the two would not be announced.
      taken += input.write(source.subarray(taken));
      if (taken === source.length) Atomics.store(registers.inputWanted, 0, 0);
    }
    if (taken > 0) this.#offered = true;
    return taken;
  }

  /** There is something that only `settle` can pass on to the guest. */
  get unsettled(): boolean {
    return this.#offered || (Atomics.load(this.#state.registers.stalled, 0) !== 0 && transmitterReady(this.#state));
  }

  /** Fills the receive FIFO, lets a stalled transmitter go on, converges the line. The machine lock is held. */
  settle(): void {
    this.#offered = false;
    fillReceiver(this.#state);
    resumeTransmitter(this.#state);
    updateLine(this.#state, this.#setLine);
  }
}

/** Power-on values; the rings keep what the host has not read or the guest has not taken. */
export function resetSerial(buffer: ArrayBufferLike, layout: SerialLayout): void {
  const { registers } = bindSerial(buffer, layout);
  registers.divisorLow = 12; // 9600 baud, as firmware leaves it; no power-on value is defined
  registers.divisorHigh = 0;
  registers.interruptEnable = 0;
  registers.fifoControl = 0;
  registers.lineControl = 0;
  registers.modemControl = 0;
  registers.modemDelta = 0;
  registers.lineErrors = 0;
  registers.scratch = 0;
  registers.transmitterInterrupt = 0;
  registers.line = 0;
  registers.flowControlled = 0;
  registers.receiveStart = 0;
  registers.receiveCount = 0;
  registers.receive.fill(0);
  Atomics.store(registers.stalled, 0, 0);
}

/**
 * Saved registers are a port's again. What was in the rings is the other machine's: its output has been shown, its input was
 * not for this one.
 */
export function reviveSerial(buffer: ArrayBufferLike, layout: SerialLayout, setLine: SetLine): void {
  const state = bindSerial(buffer, layout);
  const { registers } = state;
  state.output.clear();
  state.input.clear();
  Atomics.store(registers.dropped, 0, 0);
  Atomics.store(registers.inputWanted, 0, 0);
  resumeTransmitter(state);
  registers.line = 0;
  updateLine(state, setLine);
}
