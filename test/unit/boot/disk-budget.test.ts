import { expect, test } from 'vitest';
import { DiskBudget, diskLimits } from '../../../src/boot/disk-budget.js';

const boom = (): never => {
  throw new Error('it goes on');
};

test('once an abort was noticed every step throws its reason, also for who has caught it before', async () => {
  const controller = new AbortController();
  const budget = new DiskBudget(undefined, controller.signal);
  budget.check();
  budget.spend('lookups');
  const reason = new Error('enough');
  controller.abort(reason);
  await expect(budget.wait(Promise.resolve())).rejects.toBe(reason);
  for (const step of [() => budget.check(), () => budget.spend('lookups'), () => void budget.turn()]) {
    expect(() => {
      step();
      boom();
    }).toThrow(reason);
  }
});

test('a limit stays exceeded, whatever is spent afterwards', () => {
  const budget = new DiskBudget({ size: 1, path: '/a.img' });
  budget.spend('lookups', diskLimits.lookups);
  expect(() => budget.spend('lookups')).toThrow('/a.img');
  for (const step of [() => budget.check(), () => budget.spend('text', 0), () => void budget.turn()]) {
    expect(step).toThrow('/a.img');
  }
});
