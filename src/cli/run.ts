/** `tsvmm run`, and the life of any machine of a command: starts it, connects its console, waits for its end. Main thread. */
import type { Readable, Writable } from 'node:stream';
import { isForeground, RawTerminal, type TerminalInput } from '../host/terminal.js';
import type { Logger, VmOptions } from '../machine/options.js';
import { feedConsole, showConsole, textWatcher } from './console-link.js';
import type { Control } from './control/control.js';
import type { Forks, ForksOptions } from './control/forks.js';
import { commandWith } from './diagnosis/command.js';
import { asksForConsole, diagnose, hasGivenUp } from './diagnosis/diagnose.js';
import { StuckWatch } from './diagnosis/stuck.js';
import { Ending, type EndStep, type SignalSource } from './ending.js';
import { causeOfLoss, codeForEnd, codeForThrown, type EndCause } from './exit-codes.js';
import { JsonEvents } from './json-events.js';
import type { Machine, StartMachine } from './machine.js';
import { diagnosisLines, isCi, Notices, painter, renderError } from './print.js';
import { hasBooted, report } from './report.js';
import type { RunArguments } from './run-flags.js';
import { type LifeOptions, runOptions } from './run-options.js';
import type { TimelineRecord } from './timeline/record.js';

interface TerminalOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** What the program is connected with; the tests make their own. Streams are looked at when they are needed. */
export interface RunIo {
  readonly stdin: Readable & TerminalInput;
  readonly stdout: Writable & TerminalOutput;
  readonly stderr: Writable & TerminalOutput;
  readonly signals: SignalSource;
  /** Leaves the process at once. */
  exitNow(code: number): void;
}

/** A command that has a machine from its start to its end, and what it says of that. */
export interface Launch {
  readonly switches: ReadonlySet<string>;
  /** Of a machine that boots: with this a boot that fails is explained. */
  readonly given?: RunArguments;
  /** Checks what the command line said; throws `ERR_TSVMM_CONFIG`. */
  prepare(): Prepared;
}

export interface Prepared {
  readonly options: LifeOptions;
  readonly name: string | undefined;
  /** What it is restored from. */
  readonly snapshot?: string;
  sizes(): Promise<{ readonly memory: number; readonly cpus: number }>;
  start(options: Pick<VmOptions, 'signal' | 'logger'>): Promise<Machine>;
}

export interface Session {
  readonly start: Prepared['start'];
  readonly io: RunIo;
  readonly options: LifeOptions;
  readonly ending: Ending;
  readonly events: JsonEvents | undefined;
  readonly logger: Logger | undefined;
  readonly notices: Notices;
  readonly given: RunArguments | undefined;
  readonly timeline: TimelineRecord | undefined;
  /** Of a machine that has a name. */
  readonly reach: Reach | undefined;
}

/** How other shells reach a machine and its forks. */
interface Reach {
  readonly control: Control;
  readonly forks: Forks;
}

const askedBy: Readonly<Record<EndCause, string>> = {
  SIGTERM: 'SIGTERM',
  SIGINT: 'SIGINT',
  SIGHUP: 'SIGHUP',
  SIGQUIT: 'SIGQUIT',
  SIGPIPE: 'the reader of the output went away',
  output: 'the output cannot be written',
  escape: 'Ctrl-]',
  stop: 'tsvmm stop',
  until: '--until saw its text',
  timeout: '--timeout expired',
};

function stepText(step: EndStep, cause: EndCause): string {
  if (step === 'force') return 'forcing the guest off';
  if (step === 'give-up') return `giving up the start: ${askedBy[cause]}`;
  return `asking the guest to power off: ${askedBy[cause]} (once more forces it off)`;
}

/** Runs one machine to its end and answers the exit code. Never rejects: what fails is shown. */
export function run(given: RunArguments, start: StartMachine, io: RunIo): Promise<number> {
  const prepare = (): Prepared => {
    const { machine, ...options } = runOptions(given);
    return {
      options,
      name: machine.name,
      sizes: async () => (await import('./control/sizes.js')).sizesOf(machine),
      start: (common) => start({ ...machine, ...common }),
    };
  };
  return live({ switches: given.switches, given, prepare }, io);
}

/** The same of any machine. */
export async function live({ switches, given, prepare }: Launch, io: RunIo): Promise<number> {
  const verbose = switches.has('verbose');
  const events = switches.has('json') ? new JsonEvents(io.stdout) : undefined;
  const notices = new Notices(io, switches.has('quiet'));
  const exitNow = (code: number): void => io.exitNow(code);
  const ending = new Ending({
    onStep(step, cause) {
      events?.ending(cause, step === 'force');
      const text = stepText(step, cause);
      if (step === 'give-up' && cause === 'timeout') notices.complain(text);
      else notices.say(text);
    },
    exitNow,
  });
  ending.listen(io.signals);
  const onGone = (error: Error): void => ending.requestOnce(causeOfLoss(error));
  if (events) io.stdout.once('error', onGone);
  let timeline: TimelineRecord | undefined;
  let reach: Reach | undefined;
  try {
    const prepared = prepare();
    const { options, start } = prepared;
    const say = (text: string): void => notices.say(text);
    const ofFork = {
      ...{ ending, exitNow, stopTimeoutMs: options.stopTimeoutMs, say },
      warn: verbose ? () => {} : say, // the log has them
      onStep: (name: string, step: EndStep, cause: EndCause) => notices.say(`${name}: ${stepText(step, cause)}`),
    };
    reach = await openControl(prepared, ofFork);
    timeline = given && (await recordTimeline(given, notices));
    const logger = verbose ? await loadLogger(events ? io.stdout : io.stderr) : undefined;
    return await runMachine({ start, io, options, ending, events, logger, notices, given, timeline, reach });
  } catch (error) {
    timeline?.failed(error);
    if (ending.signal.aborted && ending.cause !== undefined) {
      const code = codeForEnd(ending.cause, true);
      events?.aborted(ending.cause, code);
      return code;
    }
    const code = codeForThrown(error);
    io.stderr.write(renderError(error, verbose, painter(io.stderr)));
    events?.failed(error, code);
    return code;
  } finally {
    await reach?.control.close();
    ending.unlisten(io.signals);
    if (events) io.stdout.off('error', onGone);
  }
}

/** Other shells reach a machine by its name, and only one that has one. */
async function openControl({ name, snapshot, sizes }: Prepared, ofFork: ForksOptions): Promise<Reach | undefined> {
  if (name === undefined) return undefined;
  const [{ Control }, { Forks }] = await Promise.all([import('./control/control.js'), import('./control/forks.js')]);
  const forks = new Forks(ofFork);
  const { ending } = ofFork;
  return { control: await Control.open({ name, ...(await sizes()), ending, forks, snapshot }), forks };
}

/** The code of the page is only for who asks for one. */
async function recordTimeline(given: RunArguments, notices: Notices): Promise<TimelineRecord | undefined> {
  const path = given.values['timeline'];
  if (path === undefined) return undefined;
  const [{ TimelineRecord }, { version }] = await Promise.all([import('./timeline/record.js'), import('./version.js')]);
  return new TimelineRecord({
    path,
    name: given.values['name'] ?? given.disk ?? given.values['kernel'] ?? 'a virtual machine',
    command: commandWith(given),
    version: version(),
    say: (text) => notices.say(text),
    complain: (text) => notices.complain(text),
  });
}

const loadLogger = async (output: RunIo['stderr']): Promise<Logger> => (await import('./log.js')).createLogger(output);

async function runMachine(session: Session): Promise<number> {
  const { start, options, ending, events, logger, notices, timeline, reach } = session;
  const { timeoutMs } = options;
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => ending.requestOnce('timeout'), timeoutMs);
  try {
    timeline?.starting();
    const machine = await start({ signal: ending.signal, ...(logger && { logger }) });
    timeline?.started(machine);
    ending.attach(machine, options.stopTimeoutMs);
    reach?.control.started(machine);
    if (events) events.started(machine);
    else if (!logger)
      machine.on('warning', ({ source, device, message }) => notices.say(`warning: ${device ?? source}: ${message}`));
    logger?.debug({ phases: machine.phases }, 'started');
    const link = connect(machine, session);
    const exit = await machine.exited;
    ending.over();
    reach?.control.ended(exit.reason);
    await link.shown;
    link.disconnect();
    timeline?.finish(exit.reason === 'panic' ? `panic: ${exit.message}` : `the end (${exit.reason})`);
    const code = report(exit, link.unseen(), machine, session);
    await reach?.control.close();
    await reach?.forks.ended();
    return code;
  } finally {
    clearTimeout(timer);
  }
}

interface Link {
  /** Resolves when the whole console has gone out. */
  readonly shown: Promise<void>;
  /** True while the text of --until has not come. */
  unseen(): boolean;
  disconnect(): void;
}

function connect(machine: Machine, session: Session): Link {
  const { io, options, ending, events, notices, reach, given } = session;
  const { stdin } = io;
  const output = events ? io.stderr : io.stdout;
  const terminal =
    stdin.isTTY && isForeground() ? new RawTerminal(stdin, output.isTTY ? output : undefined) : undefined;
  let unseen = options.until !== undefined;
  const stuck = given && watchForStuck(machine, given, notices);
  const watchers: ((chunk: Buffer) => void)[] = [(chunk) => notices.watch(chunk)];
  if (stuck) watchers.push(() => stuck.heard());
  if (terminal) watchers.push((chunk) => terminal.watch(chunk));
  if (reach) watchers.push((chunk) => reach.control.consoles.show(chunk));
  if (options.until !== undefined) {
    watchers.push(
      textWatcher(options.until, () => {
        unseen = false;
        ending.requestOnce('until');
      }),
    );
  }
  const shown = showConsole(machine.console, output, {
    onData: (chunk) =>
      watchers.forEach((watch) => {
        watch(chunk);
      }),
    onGone: (error) => ending.requestOnce(causeOfLoss(error)),
  });

  const resize = (): void => {
    if (output.columns && output.rows) machine.console.resize(output.columns, output.rows);
  };
  resize();
  output.on('resize', resize);

  let stopInput: (() => void) | undefined;
  if (terminal) {
    // On the terminal of a CI job nobody presses keys.
    if (!isCi()) notices.say('Ctrl-] leaves the console and powers the guest off');
    terminal.enter();
    stopInput = feedConsole(machine.console, stdin, () => ending.request('escape'));
  } else if (!stdin.isTTY) stopInput = feedConsole(machine.console, stdin);
  // else a background process: its terminal belongs to somebody else

  return {
    shown,
    unseen: () => unseen,
    disconnect() {
      stuck?.stop();
      stopInput?.();
      output.off('resize', resize);
      terminal?.leave();
    },
  };
}

/** Of a guest that may go on for long, a part of the console is looked at again and again. */
const lastOutput = 16 * 1024;

/** A person, or the log of a program, hears of a guest that does not boot while it still runs. */
function watchForStuck(machine: Machine, given: RunArguments, notices: Notices): StuckWatch {
  const watch = new StuckWatch({
    consoleAsked: asksForConsole(given),
    booted: () => hasBooted(machine),
    diagnose: () => {
      const consoleTail = machine.console.tail.slice(-lastOutput);
      return hasGivenUp(consoleTail) ? diagnose({ given, consoleTail, crashed: false }) : undefined;
    },
    tell: (diagnosis) => {
      watch.stop();
      notices.say(`the guest does not seem to boot\n${diagnosisLines(diagnosis, (_style, text) => text).join('\n')}`);
    },
  });
  return watch;
}
