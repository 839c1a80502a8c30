/** Whether this process may supply memory when it is touched (userfaultfd). */
import { closeFd } from '../../src/host/system.js';
import { openUserFaults } from '../../src/memory/user-faults.js';

/** Why not; undefined if it may. */
export const whyNoUserFaults = (() => {
  try {
    closeFd(openUserFaults());
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
})();
if (whyNoUserFaults !== undefined) console.log(`skipped: memory on demand: ${whyNoUserFaults}`);
