/** One command in a lab of its own, on this process's standard streams; what `npm run lab` does. */
import { spawnSync } from 'node:child_process';
import { openLab } from './lab.js';
import { withDeadline } from './session.js';

/** A command that does not end on a signal is killed with its lab after this. */
const STOP_MS = 15_000;
/** Unless the caller says otherwise. A person at a terminal may take as long as they like. */
const DEFAULT_TIMEOUT = 900;

const terminalSize = () => ({ rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 });

/**
 * Hands this terminal to the one in the lab, which does all of the translating. Not by `setRawMode`, which still turns
 * each line feed into two characters.
 *
 * @returns {() => void} gives it back
 */
function passTerminal() {
  const stty = (/** @type {string[]} */ ...words) =>
    spawnSync('stty', words, { stdio: ['inherit', 'pipe', 'inherit'], encoding: 'utf8' }).stdout.trim();
  const before = stty('-g');
  stty('raw', '-echo');
  const restore = () => {
    stty(before);
    process.off('exit', restore);
  };
  process.on('exit', restore);
  return restore;
}

/**
 * Connects this process's standard input, or its terminal, to a command.
 *
 * @param {import('./lab.js').Lab} lab
 * @param {import('./session.js').Command} command
 * @param {boolean} terminal
 * @returns {() => void} undoes it
 */
function connectInput(lab, command, terminal) {
  const { stdin } = process;
  const onResize = () => command.resize(terminalSize());
  const onData = (/** @type {Buffer} */ data) => {
    if (command.write(data)) return;
    stdin.pause();
    lab.machine.onDrain(() => stdin.resume());
  };
  const onEnd = () => command.end();
  const giveBack = terminal ? passTerminal() : undefined;
  if (terminal) process.stdout.on('resize', onResize);
  stdin.on('data', onData).once('end', onEnd).once('error', onEnd);
  return () => {
    stdin.off('data', onData).off('end', onEnd).off('error', onEnd);
    stdin.pause();
    process.stdout.off('resize', onResize);
    giveBack?.();
  };
}

/**
 * @param {string[]} command
 * @param {import('./lab.js').LabOptions & { get?: { from: string, to: string }[], timeout?: number, env?: Record<string, string> }} [options]
 *   `timeout` in seconds, 0 for none
 * @returns {Promise<number>} its exit code
 */
export async function runInLab(command, options = {}) {
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const timeout = options.timeout ?? (terminal ? 0 : DEFAULT_TIMEOUT);
  const lab = await openLab(options);
  /** @param {NodeJS.WriteStream} stream */
  const writer = (stream) => (/** @type {Buffer} */ data) => {
    if (stream.write(data)) return;
    lab.machine.flow(false);
    stream.once('drain', () => lab.machine.flow(true));
  };
  try {
    const running = lab.start(command, {
      onStdout: writer(process.stdout),
      onStderr: writer(process.stderr),
      env: { ...(terminal ? { TERM: process.env.TERM ?? 'vt100' } : {}), ...options.env },
      ...(terminal ? { terminal: terminalSize() } : {}),
    });
    const disconnect = connectInput(lab, running, terminal);
    const forward = (/** @type {NodeJS.Signals} */ signal) => {
      running.signal(signal);
      setTimeout(() => lab.machine.kill(), STOP_MS).unref();
    };
    const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
    for (const signal of signals) process.on(signal, forward);
    try {
      const exitCode = await withDeadline(lab.machine, running.exited, timeout, command);
      await lab.get(options.get ?? []);
      return exitCode;
    } finally {
      disconnect();
      for (const signal of signals) process.off(signal, forward);
    }
  } finally {
    await lab.kill();
  }
}
