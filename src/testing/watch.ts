/** What a machine does while a test has it, for the report of its failure. Main thread of the test's worker. */
import type { VirtualMachine, Warning } from '../index.js';
import { ending, type Seen } from './report.js';

export interface Watched {
  /** All that has been seen of it until now. */
  seen(): Promise<Seen>;
}

/** Begins at once: what a machine has to say of its start it says after this turn of the event loop. */
export function watch(vm: VirtualMachine): Watched {
  const warnings: Warning[] = [];
  vm.on('warning', (warning) => warnings.push(warning));
  return {
    async seen() {
      const state = vm.state === 'stopped' ? ending(await vm.exited) : vm.state;
      return { name: vm.name, state, warnings, console: vm.console.tail };
    },
  };
}
