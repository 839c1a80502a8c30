/**
 * Runs synchronous code as if on several threads, in every order of its `Atomics` operations.
 *
 * A thread is a function. To take its next step it is run again from the start: operations it has done before return what
 * they returned then, the next one is done for real, and the one after that stops the run. So threads must touch shared
 * state only through `Atomics` and `step`, which marks any other effect (ringing an eventfd, setting a line).
 *
 * Two orders that lead to the same shared state, with each thread having seen the same, go on alike: such a state is
 * followed once.
 */
type Operation = () => unknown;

const names = ['load', 'store', 'exchange', 'compareExchange', 'add', 'sub', 'and', 'or', 'xor'] as const;
const real = Object.fromEntries(names.map((name) => [name, Atomics[name]])) as Record<
  string,
  (...a: never[]) => unknown
>;

const pause = Symbol('pause');
let current: Thread | undefined;

class Thread {
  done = false;
  readonly #body: () => void;
  readonly #results: unknown[] = [];
  #next = 0;
  #allowed = 0;

  constructor(body: () => void) {
    this.#body = body;
  }

  /** Does one operation, and whatever follows it up to the next. */
  advance(): void {
    this.#next = 0;
    this.#allowed = 1;
    current = this;
    try {
      this.#body();
      this.done = true;
    } catch (error) {
      if (error !== pause) throw error;
    } finally {
      current = undefined;
    }
  }

  /** What it has seen so far. */
  get history(): readonly unknown[] {
    return this.#results;
  }

  perform(operation: Operation): unknown {
    if (this.#next < this.#results.length) return this.#results[this.#next++];
    if (this.#allowed-- === 0) throw pause;
    const result = operation();
    this.#results.push(result);
    this.#next++;
    return result;
  }
}

/** An effect other than an `Atomics` call. */
export const step = <T>(operation: () => T): T =>
  current === undefined ? operation() : (current.perform(operation) as T);

export interface Scenario {
  readonly threads: readonly (() => void)[];
  /** All shared state that the threads touch, as plain data. */
  snapshot(): unknown;
  /** Asserts what must hold in the end. */
  check(): void;
}

/** Explores every interleaving of `make()`'s threads; says how many states it came to. */
export function explore(make: () => Scenario, limit = 20_000): number {
  for (const name of names) {
    (Atomics as unknown as Record<string, unknown>)[name] = (...args: never[]) => step(() => real[name]!(...args));
  }
  try {
    const seen = new Set<string>();
    // A schedule is the thread chosen at each step; the last choice that has an alternative is changed for the next run.
    let schedule: number[] = [];
    for (;;) {
      const scenario = make();
      const threads = scenario.threads.map((body) => new Thread(body));
      const choices: { chosen: number; runnable: number[] }[] = [];
      let known = false;
      while (!known && threads.some((thread) => !thread.done)) {
        const runnable = threads.flatMap((thread, i) => (thread.done ? [] : [i]));
        const chosen = schedule[choices.length] ?? runnable[0]!;
        choices.push({ chosen, runnable });
        threads[chosen]!.advance();
        if (choices.length < schedule.length) continue; // on the way to what is new
        const state = JSON.stringify([scenario.snapshot(), threads.map((thread) => [thread.done, thread.history])]);
        known = seen.has(state);
        seen.add(state);
      }
      if (!known) scenario.check();
      if (seen.size > limit) throw new Error(`more than ${limit} states`);
      let last = choices.length - 1;
      while (last >= 0 && choices[last]!.runnable.at(-1) === choices[last]!.chosen) last--;
      if (last < 0) return seen.size;
      const { chosen, runnable } = choices[last]!;
      schedule = choices.slice(0, last).map((choice) => choice.chosen);
      schedule.push(runnable[runnable.indexOf(chosen) + 1]!);
    }
  } finally {
    for (const name of names) (Atomics as unknown as Record<string, unknown>)[name] = real[name];
  }
}
