/** Starts the tiny guests under tsvmm, as built into dist, and says why if that is not possible here. */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { VirtualMachine, type VmExit, type VmOptions } from 'tsvmm';

const folder = fileURLToPath(new URL('../../../build/guests/', import.meta.url));

export const guestFile = (name: string): string => {
  const file = `${folder}${name}.elf`;
  if (!existsSync(file)) throw new Error(`${file} is missing: node scripts/build-guests.js`);
  return file;
};

/** Why these tests cannot run on this machine, or undefined. */
export const whyNoKvm: string | undefined = (() => {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return `/dev/kvm: ${(error as NodeJS.ErrnoException).code}`;
  }
})();
if (whyNoKvm !== undefined) console.log(`skipped: ${whyNoKvm}`);

export interface GuestOptions extends Omit<VmOptions, 'boot'> {
  cmdline?: string;
}

export function startGuest(name: string, { cmdline = '', ...options }: GuestOptions = {}): Promise<VirtualMachine> {
  return VirtualMachine.start({ memory: '64M', ...options, boot: { kernel: guestFile(name), cmdline } });
}

export interface Outcome {
  output: string;
  exit: VmExit;
}

/** Runs a guest to its end and returns all it printed. */
export async function runGuest(name: string, options: GuestOptions = {}): Promise<Outcome> {
  await using vm = await startGuest(name, { console: { buffer: '16M' }, ...options });
  let output = '';
  vm.console.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
  });
  const exit = await vm.exited;
  await new Promise((resolve) => (vm.console.readableEnded ? resolve(undefined) : vm.console.once('end', resolve)));
  return { output, exit };
}

/** What this process holds: open descriptors and threads. */
export const holdings = (): { fds: number; threads: number } => ({
  fds: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
});
