/** How a machine is closed: its power cycle, its disks, its console, each whatever the others do. Main thread. */
import type { PowerCycle } from './power-cycle.js';

/** What failed. `late` is told of what fails afterwards, when a vCPU that has not stopped in time has left. */
export async function closeMachine(
  cycle: PowerCycle | undefined,
  closeDisks: () => Promise<void>,
  finishConsole: () => Promise<void>,
  late: (cause: unknown) => void,
): Promise<unknown[]> {
  const failures: unknown[] = [];
  const tried = async (close: () => Promise<void>): Promise<boolean> => {
    try {
      await close();
      return true;
    } catch (error) {
      failures.push(error);
      return false;
    }
  };
  // What a vCPU may still have written through stays open until it has left.
  if (cycle === undefined || (await tried(() => cycle.close()))) await tried(closeDisks);
  else cycle.left().finally(closeDisks).catch(late);
  await tried(finishConsole);
  return failures;
}
