/** Judges how a tiny guest ended: each says by its debug exit whether what it checked held. */
import { expect } from 'vitest';
import { type GuestOptions, type Outcome, runGuest } from './guests.js';

/** Runs a guest that must end with success; answers all it printed. */
export async function runClean(name: string, options: GuestOptions = {}): Promise<string> {
  const outcome = await runGuest(name, options);
  expectClean(outcome);
  return outcome.output;
}

export function expectClean({ output, exit }: Outcome): void {
  if (exit.reason === 'error') throw new Error(`${exit.error.message}\n${output}`, { cause: exit.error });
  expect(exit, output).toMatchObject({ reason: 'power-off', debugExit: 0 });
}
