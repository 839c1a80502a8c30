/** How a machine of `tsvmm run` ended: what is said of it, as text and as JSON, and the exit code. Main thread. */
import { type Phase, TsvmmError } from '../errors.js';
import { loginPrompt } from '../machine/boot-watch.js';
import type { VmExit } from '../machine/exit.js';
import { diagnose } from './diagnosis/diagnose.js';
import { lastResort } from './diagnosis/last-resort.js';
import { codeForExit, type EndCause, ExitCode } from './exit-codes.js';
import type { FailedBoot } from './json-events.js';
import { painter, renderError, renderFailure } from './print.js';
import type { Session } from './run.js';

interface Ended {
  readonly exit: VmExit;
  /** Why the command line ended it, if it did. */
  readonly cause: EndCause | undefined;
  /** `--until` was given, and its text never came. */
  readonly unseen: boolean;
  /** Or it was restored, and had. */
  readonly booted: boolean;
}

export const hasBooted = ({ phases }: { readonly phases: readonly Phase[] }): boolean =>
  phases.some(({ name }) => name === loginPrompt);

/** Says how the machine ended and answers the exit code. */
export function report(
  exit: VmExit,
  unseen: boolean,
  machine: { readonly phases: readonly Phase[] },
  session: Session,
): number {
  const { io, options, ending, events, logger, notices, timeline } = session;
  const { cause } = ending;
  const ended: Ended = { exit, cause, unseen, booted: session.given === undefined || hasBooted(machine) };
  const guests = codeForExit(exit, cause, unseen);
  const code = guests === ExitCode.ok && timeline?.isLost ? ExitCode.failed : guests;
  const failed = failedBoot(ended, machine.phases, session);
  const error = errorOf(exit, machine.phases);
  if (error !== undefined)
    io.stderr.write(renderError(error, logger !== undefined, painter(io.stderr), failed?.diagnosis));
  else {
    const headline = headlineOf(ended, failed !== undefined, options.until);
    if (headline !== undefined) notices.complain(code === ExitCode.ok ? headline : `${headline} (exit ${code})`);
    if (failed !== undefined)
      io.stderr.write(renderFailure({ ...failed, consoleTail: exit.consoleTail }, painter(io.stderr)));
  }
  events?.exited(exit, code, options.until === undefined ? undefined : !unseen, failed);
  return code;
}

function errorOf(exit: VmExit, phases: readonly Phase[]): TsvmmError | undefined {
  if (exit.reason === 'error') return exit.error;
  if (exit.reason !== 'panic') return undefined;
  const { consoleTail, message } = exit;
  return new TsvmmError('ERR_TSVMM_GUEST', `the guest panicked: ${message}`, { consoleTail, phases: [...phases] });
}

/** What failed, in a sentence; undefined when the guest ended as it or its user wanted. */
function headlineOf({ exit, cause, unseen, booted }: Ended, failed: boolean, until = ''): string | undefined {
  const missed = unseen ? `never showed ${JSON.stringify(until)}` : booted ? undefined : 'has not shown a login prompt';
  if (cause === 'timeout') return `--timeout expired${missed === undefined ? '' : `, and the guest ${missed}`}`;
  if (cause !== undefined) return undefined;
  if (exit.reason === 'stopped' || exit.reason === 'killed' || exit.reason === 'aborted')
    return `the machine ended (${exit.reason}), though nothing here asked for it`;
  if (unseen) return `the guest ended (${exit.reason}) and ${missed}`;
  return failed ? `the guest ended (${exit.reason}) before it had booted` : undefined;
}

/** What is known of a boot that failed; undefined when the guest had booted, or ended as it wanted. */
function failedBoot(
  { exit, cause, unseen, booted }: Ended,
  phases: readonly Phase[],
  { given }: Session,
): FailedBoot | undefined {
  const crashed = exit.reason === 'panic' || exit.reason === 'error';
  const { consoleTail } = exit;
  const isGuests = exit.reason !== 'error' || exit.error.code === 'ERR_TSVMM_GUEST';
  const diagnosis = booted || !isGuests || !given ? undefined : diagnose({ given, consoleTail, crashed });
  const missed = (unseen && cause === undefined) || cause === 'timeout';
  if (booted && !crashed && !(missed && unseen)) return undefined;
  if (!crashed && !missed && (exit.reason !== 'reset' || diagnosis === undefined)) return undefined;
  const timedOut = cause === 'timeout';
  const guessed = diagnosis ?? (given && lastResort({ given, exit, timedOut, unseen, booted }));
  return { phases: [...phases], diagnosis: guessed };
}
