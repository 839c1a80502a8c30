/**
 * What a virtio console shares with main: two byte rings and who waits for whom. Any thread.
 *
 * The data path produces output and consumes input, main the other way round. A side that cannot go on stores its wish,
 * looks once more, and is woken by the other side after that has moved bytes: so no wake-up is lost, and none is sent
 * that nobody waits for.
 */
import { ByteRing, byteRingSize } from '../../memory/byte-ring.js';
import { type RegistersOf, registerMap, words } from '../../memory/registers.js';

export const ConsoleMap = registerMap('virtio-console', {
  /** 1: the data path waits for room in the output ring. */
  outputWanted: words(1),
  /** 1: main has input that did not fit. */
  inputWanted: words(1),
  /** Output bytes lost because the ring was full, modulo 2^32. */
  dropped: words(1),
});

/** Plain data: posted to workers. */
export interface ConsoleLayout {
  readonly registers: number;
  readonly output: number;
  readonly outputCapacity: number;
  readonly input: number;
  readonly inputCapacity: number;
  /** With a full output ring the guest waits; otherwise bytes are dropped and counted. */
  readonly blockWhenFull: boolean;
  readonly end: number;
}

export interface ConsoleOptions {
  /** A power of two. */
  readonly outputCapacity?: number | undefined;
  readonly blockWhenFull?: boolean | undefined;
}

const defaultOutputCapacity = 64 * 1024;
const inputCapacity = 4 * 1024;

/** Places the console's state at `base` (8-aligned). */
export function layoutConsole(base: number, options: ConsoleOptions = {}): ConsoleLayout {
  const outputCapacity = options.outputCapacity ?? defaultOutputCapacity;
  const output = base + ConsoleMap.size;
  const input = output + byteRingSize(outputCapacity);
  return {
    registers: base,
    output,
    outputCapacity,
    input,
    inputCapacity,
    blockWhenFull: options.blockWhenFull ?? false,
    end: input + byteRingSize(inputCapacity),
  };
}

export interface ConsoleState {
  readonly registers: RegistersOf<typeof ConsoleMap>;
  readonly output: ByteRing;
  readonly input: ByteRing;
  readonly blockWhenFull: boolean;
}

export const bindConsole = (buffer: ArrayBufferLike, layout: ConsoleLayout): ConsoleState => ({
  registers: ConsoleMap.over(buffer, layout.registers),
  output: new ByteRing(buffer, layout.output, layout.outputCapacity),
  input: new ByteRing(buffer, layout.input, layout.inputCapacity),
  blockWhenFull: layout.blockWhenFull,
});

/** What was in the rings is another machine's: its output has been shown, its input was not for this one. */
export function reviveConsole(buffer: ArrayBufferLike, layout: ConsoleLayout): void {
  const { registers, output, input } = bindConsole(buffer, layout);
  output.clear();
  input.clear();
  Atomics.store(registers.outputWanted, 0, 0);
  Atomics.store(registers.inputWanted, 0, 0);
  Atomics.store(registers.dropped, 0, 0);
}
