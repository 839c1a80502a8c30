/** Interrupts by INTx: a level line that two devices share. */
import { expect, test } from 'vitest';
import { scratchFolder, sectorBytes } from './support/disks.js';
import { whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const scratch = scratchFolder();

/** Slots 1 to 8 have the disks, slot 9 the entropy source; slots that are 8 apart have the same line. */
test.skipIf(whyNoKvm !== undefined).each([1, 2])(
  'two devices share a line: together, masked, disabled, in a storm (%i vCPUs)',
  async (cpus) => {
    const disks = Array.from({ length: 8 }, (_, i) => scratch.file(`${cpus}-${i}.img`, 64 * sectorBytes));
    const output = await runClean('intx', { disks, cpus });
    expect(output).toContain('intx: both at pin 17');
    for (const step of ['shared', 'masked pin', 'disabled function', 'storm', 'neighbours']) {
      expect(output).toContain(`intx ${step}: `);
    }
    expect(output).toMatch(/^intx ok: \d+ interrupts/m);
  },
);
