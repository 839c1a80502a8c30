/** `tsvmm run --json`: one JSON object a line on stdout for everything that happens to the machine. docs/cli.md. */
import type { Writable } from 'node:stream';
import { escaped } from '../disk/range.js';
import { asTsvmmError, type Phase } from '../errors.js';
import type { VmExit } from '../machine/exit.js';
import type { Diagnosis } from './diagnosis/diagnose.js';
import type { EndCause } from './exit-codes.js';
import type { Machine } from './machine.js';
import { cliMessage } from './wording.js';

/** Control characters that JSON may have as they are, and of which a terminal may take one for the begin of a command. */
const controls = /[\u007f-\u009f]/g;

/** The same JSON with these characters escaped. */
export const escapeControls = (json: string): string => json.replace(controls, escaped);

/** `value` as a line of JSON: what is in it may come from a guest or its disk. */
export const jsonLine = (value: object): string => `${escapeControls(JSON.stringify(value))}\n`;

/** An error as JSON has it. */
export const errorFields = (thrown: unknown) => {
  const error = asTsvmmError(thrown, 'ERR_TSVMM_STATE');
  const { code, consoleTail, phases } = error;
  return { code, ...cliMessage(error), consoleTail, phases };
};

/** What the `exit` line of a boot that failed says more. */
export interface FailedBoot {
  readonly phases: readonly Phase[];
  readonly diagnosis: Diagnosis | undefined;
}

export class JsonEvents {
  readonly #output: Writable;

  constructor(output: Writable) {
    this.#output = output;
  }

  #line(event: string, fields: object): void {
    if (this.#output.writable) this.#output.write(jsonLine({ event, time: Date.now(), ...fields }));
  }

  started(machine: Machine): void {
    this.#line('started', { id: machine.id, name: machine.name, phases: machine.phases satisfies readonly Phase[] });
    machine.on('state', (to, from) => this.#line('state', { to, from }));
    machine.on('reboot', () => this.#line('reboot', {}));
    machine.on('warning', ({ source, device, message, suppressed }) =>
      this.#line('warning', { source, device, message, suppressed }),
    );
  }

  ending(cause: EndCause, forced: boolean): void {
    this.#line('ending', { cause, forced });
  }

  /** `failed`: of a machine that panicked, failed, or did not boot. `untilSeen`: where --until was given. */
  exited(exit: VmExit, exitCode: number, untilSeen?: boolean, failed?: FailedBoot): void {
    const { reason, uptimeMs, consoleTail } = exit;
    this.#line('exit', {
      reason,
      exitCode,
      uptimeMs,
      consoleTail,
      ...('debugExit' in exit && { debugExit: exit.debugExit }),
      ...(untilSeen !== undefined && { untilSeen }),
      ...(exit.reason === 'panic' && { message: exit.message }),
      ...(exit.reason === 'error' && { error: errorFields(exit.error) }),
      ...failed,
    });
  }

  /** The start was given up. */
  aborted(cause: EndCause, exitCode: number): void {
    this.#line('exit', { reason: 'aborted', exitCode, cause });
  }

  /** The machine never started. */
  failed(thrown: unknown, exitCode: number): void {
    this.#line('exit', { reason: 'error', exitCode, error: errorFields(thrown) });
  }
}
