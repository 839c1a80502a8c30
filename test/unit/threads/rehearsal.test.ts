import { expect, test, vi } from 'vitest';
import { Bus } from '../../../src/bus/bus.js';
import { rehearse } from '../../../src/threads/rehearsal.js';

test('registers of the machine of the rehearsal answer, and it asks for nothing that there is', () => {
  const [read, write] = [vi.spyOn(Bus.prototype, 'read'), vi.spyOn(Bus.prototype, 'write')];
  // There is no descriptor -1, and no memory: whatever the code of the registers does, it can be done again and again.
  for (let i = 0; i < 3; i++) rehearse();
  const [lineStatus, hostBridge] = read.mock.results.map(({ value }) => value);
  expect([lineStatus, read.mock.calls.length, write.mock.calls.length]).toEqual([0x60, 6, 6]); // idle (16550 §8.6.3)
  expect([0, 0xffff_ffff]).not.toContain(hostBridge);
});
