/**
 * What `tsvmm doctor` says of side channels of the CPU that guests could use: which holes this kernel leaves open, and whether
 * guests may share a core's threads. Main thread. Linux, Documentation/ABI/testing/sysfs-devices-system-cpu.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readFact } from '../host/memory-facts.js';
import type { DoctorCheck } from './doctor.js';

const name = 'side channels';
const hardware = 'https://docs.kernel.org/admin-guide/hw-vuln/';

/** Answers one check, never a failure: machines run all the same. `cpus`: tests bring their own folder. */
export function mitigationCheck(cpus = '/sys/devices/system/cpu'): DoctorCheck {
  const states = vulnerabilities(join(cpus, 'vulnerabilities'));
  if (states === undefined)
    return {
      name,
      status: 'warn',
      message: `${cpus}/vulnerabilities cannot be read: what guests could see of one another is not known`,
    };
  const smt = readFact(join(cpus, 'smt/control')) === 'on';
  const open = states.filter(([, state]) => /^(?:KVM: )?(?:Vulnerable|Unknown)/.test(state)).map(([hole]) => hole);
  const bySmt = states.filter(
    ([hole, state]) => !open.includes(hole) && /SMT (?:vulnerable|Host state unknown)/.test(state),
  );
  const threads = smt ? 'SMT is on' : 'SMT is off';
  if (open.length === 0 && (bySmt.length === 0 || !smt))
    return { name, status: 'ok', message: `none known of this CPU is left open; ${threads}` };
  const found = [...open, ...(smt ? bySmt.map(([hole]) => `${hole} (because of SMT)`) : [])];
  const remedies = [
    ...(open.length > 0 ? [`boot the host without mitigations=off, with new microcode (${hardware})`] : []),
    ...(smt ? [`turn SMT off, as root: echo off > ${cpus}/smt/control`] : []),
  ];
  return {
    name,
    status: 'warn',
    message: `this CPU is vulnerable to ${found.join(', ')}: a guest might read what others have in memory; ${threads}`,
    fix: `for guests that you do not trust: ${remedies.join('; ')}`,
  };
}

/** Names with what the kernel says of each, such as "Mitigation: PTI"; undefined where it says nothing. */
function vulnerabilities(folder: string): [hole: string, state: string][] | undefined {
  try {
    return readdirSync(folder)
      .sort()
      .map((hole) => [hole, readFact(join(folder, hole)) ?? 'Unknown']);
  } catch {
    return undefined;
  }
}
