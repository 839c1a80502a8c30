import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { mitigationCheck } from '../../../src/machine/doctor-mitigations.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-mitigations-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

/** A /sys/devices/system/cpu. */
function cpus(smt: string | undefined, states: Readonly<Record<string, string>>): string {
  const root = join(folder, String(++made));
  mkdirSync(join(root, 'vulnerabilities'), { recursive: true });
  for (const [name, state] of Object.entries(states)) writeFileSync(join(root, 'vulnerabilities', name), `${state}\n`);
  mkdirSync(join(root, 'smt'));
  if (smt !== undefined) writeFileSync(join(root, 'smt/control'), `${smt}\n`);
  return root;
}
const mitigated = {
  l1tf: 'Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT disabled',
  meltdown: 'Not affected',
  itlb_multihit: 'KVM: Mitigation: Split huge pages',
  spectre_v2: 'Mitigation: Retpolines; STIBP: disabled',
};

test('a CPU whose holes are closed', () => {
  for (const [smt, threads] of [
    ['off', 'SMT is off'],
    ['notsupported', 'SMT is off'],
    [undefined, 'SMT is off'],
    ['on', 'SMT is on'],
  ] as const)
    expect(mitigationCheck(cpus(smt, mitigated))).toEqual({
      name: 'side channels',
      status: 'ok',
      message: `none known of this CPU is left open; ${threads}`,
    });
});

test('a kernel that was told to leave them open', () => {
  const root = cpus('notimplemented', {
    ...mitigated,
    spectre_v2: 'Vulnerable; IBPB: disabled; STIBP: disabled',
    itlb_multihit: 'KVM: Vulnerable',
    srbds: 'Unknown: Dependent on hypervisor status',
  });
  const { status, message, fix } = mitigationCheck(root);
  expect(status).toBe('warn');
  expect(message).toBe(
    'this CPU is vulnerable to itlb_multihit, spectre_v2, srbds: a guest might read what others have in memory; SMT is off',
  );
  expect(fix).toContain('boot the host without mitigations=off, with new microcode');
  expect(fix).not.toContain('echo off');
});

test('holes that only SMT leaves open', () => {
  const states = { ...mitigated, mds: 'Mitigation: Clear CPU buffers; SMT vulnerable' };
  const root = cpus('on', states);
  expect(mitigationCheck(root)).toEqual({
    name: 'side channels',
    status: 'warn',
    message: 'this CPU is vulnerable to mds (because of SMT): a guest might read what others have in memory; SMT is on',
    fix: `for guests that you do not trust: turn SMT off, as root: echo off > ${root}/smt/control`,
  });
  expect(mitigationCheck(cpus('off', states)).status).toBe('ok');
});

test('a host that does not tell', () => {
  expect(mitigationCheck(join(folder, 'nowhere'))).toMatchObject({ status: 'warn' });
});
