/**
 * The machine that the tests of a file fork: booted until it is ready, then paused, so that every fork begins where the last one
 * did and it takes no processor. Main thread of the test's worker.
 */
import { prewarm, TsvmmError, VirtualMachine, type VmOptions } from '../index.js';
import { bad, hasOptions } from '../machine/checks.js';
import { topology } from '../machine/cpu-options.js';
import { type Duration, parseDuration, show } from '../machine/units.js';
import { report } from './report.js';
import { watch } from './watch.js';

export interface VmTestOptions extends VmOptions {
  /**
   * When the machine has booted: what its console shows then, or a function that resolves then. Without it tests begin at the
   * guest's first instruction.
   */
  ready?: string | RegExp | ((vm: VirtualMachine) => Promise<unknown>) | undefined;
  /** Until it must be ready, whatever vitest's timeouts are; default 60 s. */
  timeout?: Duration | undefined;
}

export interface TemplateOptions {
  readonly machine: VmOptions;
  readonly ready: VmTestOptions['ready'];
  readonly timeoutMs: number;
}

export interface Template extends AsyncDisposable {
  readonly vm: VirtualMachine;
}

const defaultTimeout = '60s';

/** What is the test's business is checked at once; what is the machine's when it starts. */
export function templateOptions(options: VmTestOptions): TemplateOptions {
  if (!hasOptions(options)) throw bad('vmTest: expected options', 'pass those of VirtualMachine.start, and ready');
  const { ready, timeout = defaultTimeout, ...machine } = options;
  if (ready !== undefined && typeof ready !== 'string' && typeof ready !== 'function' && !(ready instanceof RegExp))
    throw bad(`vmTest: ready: ${show(ready)} is not possible`, 'pass a string, a regular expression or a function');
  return { machine, ready, timeoutMs: parseDuration('vmTest: timeout', timeout) };
}

/** Rejects with an error that has the console in its message, and nothing is left then. */
export async function bootTemplate({ machine, ready, timeoutMs }: TemplateOptions): Promise<Template> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(
      new TsvmmError('ERR_TSVMM_TIMEOUT', `it was not ready after ${timeoutMs} ms`, {
        hint: 'see below what the guest printed last; if it takes longer to boot, pass a longer timeout to vmTest',
      }),
    );
  }, timeoutMs);
  try {
    const signals = machine.signal === undefined ? [late.signal] : [machine.signal, late.signal];
    return await boot(machine, ready, AbortSignal.any(signals));
  } finally {
    clearTimeout(timer);
  }
}

async function boot(options: VmOptions, ready: VmTestOptions['ready'], signal: AbortSignal): Promise<Template> {
  const vm = await VirtualMachine.start({ ...options, signal }).catch((error: unknown) => {
    throw notReady(error, error instanceof TsvmmError ? (error.consoleTail ?? '') : '');
  });
  const watched = watch(vm);
  try {
    await untilReady(vm, ready);
    await vm.pause();
    // A fork takes a worker for each vCPU, which comes back when its test is over.
    const { sockets, cores, threads } = topology(options.cpus, options.topology);
    const workers = await prewarm({ vcpus: sockets * cores * threads });
    return {
      vm,
      async [Symbol.asyncDispose]() {
        await vm.kill();
        await workers[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    const told = report(await watched.seen());
    await vm.kill();
    throw notReady(signal.aborted ? signal.reason : error, told);
  }
}

/** A machine that ends is not waited for. */
async function untilReady(vm: VirtualMachine, ready: VmTestOptions['ready']): Promise<void> {
  if (ready === undefined) return;
  if (typeof ready !== 'function') {
    await vm.console.waitFor(ready);
    return;
  }
  const ended = vm.exited.then(() => {
    throw new TsvmmError('ERR_TSVMM_STATE', 'it ended before it was ready');
  });
  await Promise.race([ready(vm), ended]);
}

/** Its message is all that every reporter shows. */
function notReady(failure: unknown, told: string): TsvmmError {
  const { code, message, hint } =
    failure instanceof TsvmmError
      ? failure
      : { code: 'ERR_TSVMM_STATE' as const, message: String(failure), hint: undefined };
  const cause = failure instanceof TsvmmError ? undefined : failure;
  const text = `vmTest: the machine did not become ready: ${message}${told === '' ? '' : `\n\n${told}\n`}`;
  return new TsvmmError(code, text, { hint, cause });
}
