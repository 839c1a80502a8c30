/** What `tsvmm` tells its caller by its exit code, and why. `tsvmm help exit-codes` and docs/cli.md show the table. */
import { type ErrorCode, TsvmmError } from '../errors.js';
import type { VmExit } from '../machine/exit.js';

export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  panic: 3,
  internal: 4,
  noKvm: 5,
  timeout: 124,
  hangup: 129,
  interrupt: 130,
  quit: 131,
  pipe: 141,
  terminated: 143,
} as const;

export const exitCodeTexts: readonly (readonly [number, string])[] = [
  [
    ExitCode.ok,
    'the guest powered off (or reset, with --no-reboot), by itself or because SIGTERM, Ctrl-] or tsvmm stop asked it to; or --until saw its text; or another command did its work',
  ],
  [
    ExitCode.failed,
    'a disk, kernel or other input could not be used, or the output not be written; or --until never saw its text; or a running machine is not there, or did not do what it was asked',
  ],
  [ExitCode.usage, 'the command line is wrong, or an option asks for what makes no sense or this host does not have'],
  [ExitCode.panic, 'the guest panicked, or ran into something that its CPU cannot go on from'],
  [ExitCode.internal, 'tsvmm or KVM failed inside'],
  [ExitCode.noKvm, 'virtual machines cannot run here: tsvmm doctor says why'],
  [ExitCode.timeout, '--timeout expired'],
  [ExitCode.hangup, 'ended by SIGHUP'],
  [ExitCode.interrupt, 'ended by SIGINT, or forced off with a second Ctrl-]'],
  [ExitCode.quit, 'ended by SIGQUIT'],
  [ExitCode.pipe, 'the reader of the output went away'],
  [
    ExitCode.terminated,
    'ended by SIGTERM or tsvmm stop and forced, because the guest did not power off in time; or SIGTERM ended tsvmm console',
  ],
];

const byError: Readonly<Record<ErrorCode, number>> = {
  ERR_TSVMM_CONFIG: ExitCode.usage,
  ERR_TSVMM_STATE: ExitCode.internal,
  ERR_TSVMM_TIMEOUT: ExitCode.internal, // a thread's answer; --timeout is an EndCause
  ERR_TSVMM_UNSUPPORTED_RUNTIME: ExitCode.noKvm,
  ERR_TSVMM_UNSUPPORTED_PLATFORM: ExitCode.noKvm,
  ERR_TSVMM_NATIVE_MISSING: ExitCode.noKvm,
  ERR_TSVMM_KVM_MISSING: ExitCode.noKvm,
  ERR_TSVMM_KVM_DENIED: ExitCode.noKvm,
  ERR_TSVMM_KVM_CAPABILITY: ExitCode.noKvm,
  ERR_TSVMM_KVM_IOCTL: ExitCode.internal,
  ERR_TSVMM_DISK_FORMAT: ExitCode.failed,
  ERR_TSVMM_DISK_LOCKED: ExitCode.failed,
  ERR_TSVMM_DISK_IO: ExitCode.failed,
  ERR_TSVMM_BOOT_NOT_FOUND: ExitCode.failed,
  ERR_TSVMM_BOOT_KERNEL: ExitCode.failed,
  ERR_TSVMM_NETWORK: ExitCode.failed,
  ERR_TSVMM_SNAPSHOT: ExitCode.failed,
  ERR_TSVMM_WORKER_DIED: ExitCode.internal,
  ERR_TSVMM_GUEST: ExitCode.panic,
};

export const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(byError, value);
export const codeForError = (code: ErrorCode): number => byError[code];
/** What is thrown without a code is a mistake of ours. */
export const codeForThrown = (thrown: unknown): number =>
  thrown instanceof TsvmmError ? codeForError(thrown.code) : ExitCode.internal;

/** The same where a machine in another process was asked: that it cannot now, or not in time, is no failure inside. */
export const codeForRefusal = (thrown: unknown): number =>
  thrown instanceof TsvmmError && ['ERR_TSVMM_STATE', 'ERR_TSVMM_TIMEOUT'].includes(thrown.code)
    ? ExitCode.failed
    : codeForThrown(thrown);

/** Why the command line ended the machine, when it did. */
export type EndCause =
  | 'SIGTERM'
  | 'SIGINT'
  | 'SIGHUP'
  | 'SIGQUIT'
  | 'SIGPIPE'
  | 'output'
  | 'escape'
  | 'stop'
  | 'until'
  | 'timeout';

/** What an error of an output stream means: its reader (EPIPE) or its terminal (EIO) is gone, or it cannot be written. */
export const causeOfLoss = (error: NodeJS.ErrnoException): 'SIGPIPE' | 'output' =>
  error.code === 'EPIPE' || error.code === 'EIO' ? 'SIGPIPE' : 'output';

/** The code when the command line asked for the end; `forced`: the guest did not power off by itself. */
export function codeForEnd(cause: EndCause, forced: boolean): number {
  switch (cause) {
    case 'until':
      return ExitCode.ok;
    case 'escape':
      return forced ? ExitCode.interrupt : ExitCode.ok;
    case 'SIGTERM':
    case 'stop':
      return forced ? ExitCode.terminated : ExitCode.ok;
    case 'SIGINT':
      return ExitCode.interrupt;
    case 'SIGHUP':
      return ExitCode.hangup;
    case 'SIGQUIT':
      return ExitCode.quit;
    case 'SIGPIPE':
      return ExitCode.pipe;
    case 'output':
      return ExitCode.failed;
    case 'timeout':
      return ExitCode.timeout;
  }
}

/** The code for a machine that ended. `unseen`: --until was given and its text never came. */
export function codeForExit(exit: VmExit, cause: EndCause | undefined, unseen: boolean): number {
  if (exit.reason === 'panic') return ExitCode.panic;
  if (exit.reason === 'error') return codeForError(exit.error.code);
  if (cause !== undefined) return codeForEnd(cause, exit.reason === 'killed' || exit.reason === 'aborted');
  if (exit.reason === 'power-off' || exit.reason === 'reset') return unseen ? ExitCode.failed : ExitCode.ok;
  return ExitCode.internal; // stopped, killed or aborted, though nobody here asked
}
