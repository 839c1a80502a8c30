/** Wires that record what register code does to the world, for tests. */
import type { TopologyTask, Wires } from '../../../src/devices/wires.js';

export class MockWires implements Wires {
  /** Current level of each GSI that was ever set. */
  readonly lines = new Map<number, 0 | 1>();
  /** Every level change call, in order. */
  readonly lineCalls: [gsi: number, level: 0 | 1][] = [];
  readonly rung: number[] = [];
  readonly raised: [event: number, detail: number][] = [];
  readonly tasks: TopologyTask[] = [];
  readonly warnings: string[] = [];
  readonly held: [word: Int32Array, value: number][] = [];
  dataPathWakes = 0;
  mainWakes = 0;

  readonly setLine = (gsi: number, level: 0 | 1): void => {
    this.lines.set(gsi, level);
    this.lineCalls.push([gsi, level]);
  };
  readonly wakeMain = (): void => {
    this.mainWakes++;
  };
  ring(eventFd: number): void {
    this.rung.push(eventFd);
  }
  raise(event: number, detail: number): void {
    this.raised.push([event, detail]);
  }
  afterwards(task: TopologyTask): void {
    if (!this.tasks.includes(task)) this.tasks.push(task);
  }
  hold(word: Int32Array, value: number): void {
    this.held.push([word, value]);
  }
  /** A vCPU that waits is held still. */
  get isHeld(): boolean {
    return this.held.some(([word, value]) => Atomics.load(word, 0) === value);
  }
  wakeDataPath(): void {
    this.dataPathWakes++;
  }
  warn(device: string, message: string): void {
    this.warnings.push(`${device}: ${message}`);
  }
  line(gsi: number): 0 | 1 {
    return this.lines.get(gsi) ?? 0;
  }
  /** What a vCPU does after the machine lock is released. */
  runTasks(): void {
    for (const task of this.tasks.splice(0)) task.run();
  }
}
