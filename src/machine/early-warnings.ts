/** Warnings of a machine that nobody can listen to yet: kept until it has been given away. Main thread. */
import type { Warning } from './events.js';

/** A guest must not fill memory with warnings while its machine starts. */
const most = 16;

export class EarlyWarnings {
  readonly #tell: (warning: Warning) => void;
  #kept: Warning[] | undefined = [];

  constructor(tell: (warning: Warning) => void) {
    this.#tell = tell;
  }

  add(warning: Warning): void {
    if (this.#kept === undefined) this.#tell(warning);
    else if (this.#kept.length < most) this.#kept.push(warning);
  }

  /** Somebody listens. */
  release(): void {
    const kept = this.#kept ?? [];
    this.#kept = undefined;
    for (const warning of kept) this.#tell(warning);
  }
}
