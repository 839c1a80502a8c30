/** How far a piece of work is, and whether anybody still wants it. Main thread. */
export interface WorkOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of RAM and of disks that are done with, holes included. `total` grows when the size of a disk becomes known. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export class Progress {
  readonly signal: AbortSignal | undefined;
  readonly #tell: WorkOptions['onProgress'];
  #done = 0;
  #total = 0;

  constructor({ signal, onProgress }: WorkOptions) {
    this.signal = signal;
    this.#tell = onProgress;
  }

  /** So many bytes more are to be done. */
  expect(bytes: number): void {
    this.#total += bytes;
  }

  /** So many more are done with. */
  advance(bytes: number): void {
    this.#done += bytes;
    this.#tell?.(this.#done, this.#total);
  }
}
