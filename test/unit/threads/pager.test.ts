/** Main's end of a pager whose worker is another one, which does as a test wants. */
import { expect, test } from 'vitest';
import { GuestRam } from '../../../src/memory/ram.js';
import { Pager } from '../../../src/threads/pager.js';
import { late, PagerWord } from '../../../src/threads/pager-protocol.js';
import { whyNoUserFaults } from '../../support/user-faults.js';

const size = 2 ** 20;
/** Memory was taken away as block 3 came too late: it says so in the words, and its message never arrives. */
const silent = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, workerData } from 'node:worker_threads';
    parentPort.on('message', ({ type }) => {
      const words = new Int32Array(workerData.state);
      Atomics.store(words, ${PagerWord.failedBlock}, 3);
      Atomics.store(words, ${PagerWord.failure}, ${late});
      if (type === 'end') process.exit();
    });`)}`,
);

test.skipIf(whyNoUserFaults !== undefined)(
  'who waits for memory hears why it does not come, even if the machine ends of it first',
  async () => {
    const ram = GuestRam.map(size);
    const regions = ram.place([{ start: 0, size }]);
    const pager = new Pager({
      url: silent,
      regions,
      ranges: [{ offset: 0, length: size }],
      blockSize: 4096,
      timeoutMs: 300,
      read: () => new Promise(() => {}),
      failed: () => {},
    });
    const loading = pager.load({ offset: 0, length: size });
    loading.catch(() => {}); // it may be told before anybody looks
    await expect
      .poll(() => pager.failure?.message)
      .toMatch(/no answer in 300 ms for 4096 bytes of guest memory at 0x3000/);
    pager.cut(); // a vCPU has met memory that is gone
    await expect(loading).rejects.toThrow('no answer in 300 ms');
    await pager.close();
    ram.release();
  },
);
