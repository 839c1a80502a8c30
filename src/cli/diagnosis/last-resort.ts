/** What to try with a guest that failed when its console tells nothing that is known. Main thread; pure. */
import type { VmExit } from '../../machine/exit.js';
import type { RunArguments } from '../run-flags.js';
import { addWords, type Change, commandWith, givenWords } from './command.js';
import type { Diagnosis } from './diagnose.js';

export interface FailedGuest {
  readonly given: RunArguments;
  readonly exit: VmExit;
  readonly timedOut: boolean;
  /** `--until` was given, and its text never came. */
  readonly unseen: boolean;
  readonly booted: boolean;
}

/** Undefined where an error says more than could be guessed. */
export function lastResort({ given, exit, timedOut, unseen, booted }: FailedGuest): Diagnosis | undefined {
  if (exit.reason === 'error') {
    if (exit.error.code !== 'ERR_TSVMM_GUEST') return undefined;
    const cause = 'the kernel is damaged or made for another machine, or this KVM cannot run it';
    return { cause, next: 'tsvmm doctor' };
  }
  const more = commandWith(given, wordier(given, exit.consoleTail));
  if (exit.reason === 'panic')
    return booted ? undefined : { cause: 'something that its kernel tells before the panic', next: more };
  if (timedOut && !booted)
    return { cause: 'the guest needs more time, or waits for something that does not come', next: more };
  if (!unseen) return undefined;
  const next = commandWith(given, { drop: ['until', 'timeout'] });
  return { cause: 'the guest shows another text than that of --until', next };
}

const linux = /Linux version \d|^\[ *\d+\.\d{6}\] /m;

/** What makes a guest say more: Linux's own word, else our log. */
function wordier(given: RunArguments, consoleTail: string): Change {
  const isLinux = given.values['kernel'] === undefined || linux.test(consoleTail);
  return isLinux && !/(?:^|\s)ignore_loglevel/.test(givenWords(given))
    ? addWords(given, 'ignore_loglevel')
    : { on: ['verbose'] };
}
