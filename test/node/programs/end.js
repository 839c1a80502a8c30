/** Ends its process in the way that its first argument names, with a machine of the guest that the second names. */
import { setTimeout as delay } from 'node:timers/promises';
import { startMachine } from './machine.js';

const [how, guest, disk] = process.argv.slice(2);
const vm = await startMachine(guest, disk);

const ways = {
  exit: () => process.exit(7),
  throw: () =>
    setImmediate(() => {
      throw new Error('thrown here');
    }),
  reject: () => void Promise.reject(new Error('rejected here')),
  unref: () => vm?.unref(),
  kill: () => vm?.kill(),
  dispose: () => vm?.[Symbol.asyncDispose](),
  // The signal comes from outside.
  signal: () => delay(60_000),
};
process.stdout.write('ready\n', () => ways[how]());
