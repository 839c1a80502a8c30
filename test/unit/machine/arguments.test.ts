/** What methods are called with is no more to be trusted than options are. */
import { expect, test } from 'vitest';
import { GuestConsole } from '../../../src/machine/console.js';
import { guestMemoryApi } from '../../../src/machine/guest-memory-api.js';
import { prewarm } from '../../../src/machine/prewarm.js';

const strange: unknown[] = [Symbol('x'), 1n, Object.create(null), { toString: null }, null, [], 'many', Number.NaN, -1];
const refusal = { code: 'ERR_TSVMM_CONFIG', hint: expect.any(String) };

test.each(strange)('%#: prewarm, a console and guest memory refuse it', async (value) => {
  const given = value as number;
  await expect(prewarm({ vcpus: given })).rejects.toMatchObject(refusal);
  const console = new GuestConsole({ buffer: 65_536, whenUnread: 'drop-oldest' });
  const memory = guestMemoryApi([{ start: 0, size: 4096 }], {
    regions: () => [],
    source: () => undefined,
    wrote() {},
    touched: () => [],
  });
  for (const call of [() => console.resize(80, given), () => memory.read(given, 1), () => memory.read(0, given)]) {
    let error: unknown;
    try {
      call();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject(refusal);
  }
});
