/** `tsvmm doctor`: shows the report of machine/doctor. Main thread. */
import type { DoctorReport } from '../machine/doctor.js';
import { ExitCode } from './exit-codes.js';
import { type Painter, printable } from './print.js';

export const doctorExitCode = (report: DoctorReport): number => (report.ok ? ExitCode.ok : ExitCode.noKvm);

const styles = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

export function renderDoctor(report: DoctorReport, paint: Painter): string {
  const width = Math.max(...report.checks.map((check) => check.name.length));
  const lines: string[] = [];
  for (const { name, status, message, fix } of report.checks) {
    lines.push(`${paint(styles[status], status.padEnd(4))}  ${name.padEnd(width)}  ${printable(message)}`);
    if (fix !== undefined) lines.push(`${' '.repeat(width + 8)}${paint('bold', 'fix:')} ${printable(fix)}`);
  }
  lines.push('', verdict(report));
  return `${lines.join('\n')}\n`;
}

function verdict({ ok, stockKernels }: DoctorReport): string {
  if (!ok) return 'Virtual machines cannot run here.';
  return stockKernels ? 'Virtual machines can run here.' : 'Virtual machines can run here, but not with stock kernels.';
}
