/**
 * The lab for tests: real systems on a KVM host in emulation (docs/test-beds.md). Needs no /dev/kvm.
 *
 * `lab()` gives each command a fresh machine, resumed in about a second; `openLab()` keeps one for several commands, side
 * by side or in turn. Both have the built product in /project and fresh copies of the test disks in /images.
 */
import {
  type ExecOptions,
  type ExecResult,
  type LabOptions,
  openLab,
  type Transfer,
} from '../../../scripts/lab/index.js';

export {
  type Command,
  type DiskName,
  type ExecResult,
  ensureDisk,
  ensureLab,
  type Lab,
  LabError,
  openLab,
} from '../../../scripts/lab/index.js';

export { full } from '../../support/effort.js';

/** Long enough for a Debian with systemd to boot and power off in two layers of emulation on a busy machine. */
const DEFAULT_TIMEOUT = 600;

/** Runs one command in a lab of its own. */
export async function lab(
  command: string[],
  options: LabOptions & ExecOptions & { get?: Transfer[] } = {},
): Promise<ExecResult> {
  await using machine = await openLab(options);
  const result = await machine.exec(command, { ...options, timeout: options.timeout ?? DEFAULT_TIMEOUT });
  await machine.get(options.get ?? []);
  return result;
}

/** A script for the guest as the word on its kernel command line that makes the test disks run it and power off. */
export function guestScript(script: string): string {
  return `tsvmm.run=${Buffer.from(script).toString('base64')}`;
}
