/**
 * Runs a test guest under QEMU, which is the oracle that the guests themselves are right.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { type GuestName, guestPath } from './guests.js';

export const qemu = 'qemu-system-x86_64';

/**
 * microvm starts at once but has no PCI; q35 has, and starts through SeaBIOS, slow where ring 0 is emulated. The other two
 * announce virtio-mmio devices by ACPI, or by words of the command line.
 */
export type Machine = 'microvm' | 'microvm-acpi' | 'microvm-words' | 'q35';
export type Accelerator = 'kvm' | 'tcg';

export function whyNoQemu(): string | undefined {
  return spawnSync(qemu, ['--version']).status === 0
    ? undefined
    : `${qemu} is not installed (apt-get install qemu-system-x86)`;
}

export function whyNoKvm(): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return `/dev/kvm cannot be used: ${(error as Error).message}`;
  }
}

export interface QemuRun {
  readonly guest: GuestName;
  readonly machine: Machine;
  readonly accelerator: Accelerator;
  readonly append?: string;
  readonly args?: readonly string[];
  /** Where the serial port goes, "stdio" by default. */
  readonly serial?: string;
  /** A file whose text counts as output too, looked at now and then: where the serial port goes when not to stdio. */
  readonly watch?: string;
  /** Input, each sent once the text before it has been printed. */
  readonly dialogue?: readonly { readonly after: string; readonly send: string }[];
  /** A reset starts the guest again; otherwise it is QEMU's end. */
  readonly reboot?: boolean;
  /** QEMU is killed once this appears on its output or its standard error. */
  readonly until?: string;
  /** How long to leave it running after that, to see that nothing more happens. */
  readonly lingerMs?: number;
  readonly timeoutMs?: number;
}

export interface QemuResult {
  readonly output: string;
  readonly errors: string;
  /** Null when it was killed. */
  readonly code: number | null;
  readonly timedOut: boolean;
}

const microvm = 'microvm,x-option-roms=off,isa-serial=on,pit=on,pic=on,rtc=on';
const machines: Record<Machine, string> = {
  microvm,
  'microvm-acpi': `${microvm},ioapic2=off,acpi=on`,
  'microvm-words': `${microvm},ioapic2=off,acpi=off`,
  q35: 'q35',
};

export function runUnderQemu(run: QemuRun): Promise<QemuResult> {
  const fixed = ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', run.serial ?? 'stdio'];
  const args = [
    ...['-M', machines[run.machine], '-accel', run.accelerator, ...fixed],
    ...(run.reboot === true ? [] : ['-no-reboot']),
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', guestPath(run.guest)],
    ...(run.append === undefined ? [] : ['-append', run.append]),
    ...(run.args ?? []),
  ];
  return new Promise((done, fail) => {
    const child = spawn(qemu, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    let timedOut = false;
    let ending = false;
    const dialogue = [...(run.dialogue ?? [])];
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, run.timeoutMs ?? 50_000);
    const look = () => {
      const text = output + (run.watch !== undefined && existsSync(run.watch) ? readFileSync(run.watch, 'latin1') : '');
      while (dialogue.length > 0 && text.includes(dialogue[0]!.after)) child.stdin.write(dialogue.shift()!.send);
      if (run.until === undefined || ending || !(output + errors).includes(run.until)) return;
      ending = true;
      setTimeout(() => child.kill('SIGKILL'), run.lingerMs ?? 0);
    };
    const watcher = run.watch === undefined ? undefined : setInterval(look, 20);
    child.stdin.on('error', () => {}); // it may exit before it has read everything: its exit code tells
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      output += text;
      look();
    });
    child.stderr.setEncoding('latin1').on('data', (text: string) => {
      errors += text;
      look();
    });
    child.on('error', fail);
    child.on('close', (code) => {
      clearTimeout(timer);
      clearInterval(watcher);
      done({ output: output.replaceAll('\r\n', '\n'), errors, code, timedOut });
    });
  });
}
