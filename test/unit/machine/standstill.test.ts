import { expect, test } from 'vitest';
import { refuseHeld, type Standstill } from '../../../src/machine/standstill.js';

test('a machine whose devices hold answers is refused, with their names', () => {
  const holding = (...held: string[]): Standstill => ({ held }) as unknown as Standstill;
  expect(() => refuseHeld(holding())).not.toThrow();
  expect(() => refuseHeld(holding('disk0', 'rng0'))).toThrow(
    expect.objectContaining({
      code: 'ERR_TSVMM_STATE',
      message: expect.stringContaining('disk0 and rng0 cannot be captured'),
    }),
  );
});
