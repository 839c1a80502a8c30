/** Commands in a running lab: their streams, their exit codes, their end. */

/** Signals by number, for the exit code of a command that one of them ended. */
import { constants } from 'node:os';
import { Frame } from './agent/frames.js';
import { LabError } from './tools.js';

/** Output that `exec` collects; more than this is a mistake of the command. */
const MAX_COLLECTED = 256 << 20;
/** Input is sent in pieces, so that a large one does not hold up other frames. */
const STDIN_PIECE = 64 * 1024;

/**
 * @typedef {object} StartOptions
 * @property {string} [cwd]
 * @property {Record<string, string>} [env]
 * @property {{ rows: number, columns: number }} [terminal]
 * @property {(data: Buffer) => void} [onStdout]
 * @property {(data: Buffer) => void} [onStderr]
 */

/** One command in the lab. */
export class Command {
  /** Its exit code, 128 + N when signal N ended it. Rejects when the lab dies. @type {Promise<number>} */
  exited;
  #machine;
  #id;

  /**
   * @param {import('./machine.js').Machine} machine
   * @param {string[]} command
   * @param {StartOptions} options
   */
  constructor(machine, command, options) {
    this.#machine = machine;
    let id = 0;
    this.exited = new Promise((resolve, reject) => {
      id = machine.open((kind, _id, payload) => {
        if (kind === Frame.stdout) options.onStdout?.(payload);
        else if (kind === Frame.stderr) options.onStderr?.(payload);
        else if (kind === Frame.exit) {
          machine.close(id);
          const { code, signal } = JSON.parse(payload.toString());
          resolve(code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (signal)]);
        }
      });
      machine.dead.then(reject);
    });
    this.exited.catch(() => {}); // whoever waits for it hears of it; one that nobody waits for may die with its lab
    this.#id = id;
    machine.send(Frame.exec, id, {
      command,
      cwd: options.cwd ?? '/project',
      env: options.env ?? {},
      terminal: options.terminal,
    });
  }

  /** @param {Uint8Array} data @returns {boolean} false: wait for `Machine.onDrain` */
  write(data) {
    let more = true;
    for (let at = 0; at < data.length; at += STDIN_PIECE)
      more = this.#machine.send(Frame.stdin, this.#id, data.subarray(at, at + STDIN_PIECE));
    return more;
  }

  /** The end of its input. */
  end() {
    this.#machine.send(Frame.stdin, this.#id, new Uint8Array(0));
  }

  /** @param {{ rows: number, columns: number }} size of its terminal */
  resize(size) {
    this.#machine.send(Frame.resize, this.#id, size);
  }

  /** To the command and its children. @param {NodeJS.Signals} signal */
  signal(signal) {
    this.#machine.send(Frame.signal, this.#id, { signal });
  }
}

/**
 * Runs a command to its end and collects what it wrote.
 *
 * @param {import('./machine.js').Machine} machine
 * @param {string[]} command
 * @param {StartOptions & { stdin?: string | Uint8Array, timeout?: number }} options `timeout` in seconds ends the whole lab
 */
export async function execute(machine, command, options) {
  const collected = { stdout: /** @type {Buffer[]} */ ([]), stderr: /** @type {Buffer[]} */ ([]) };
  let size = 0;
  /** @param {Buffer[]} into @param {((data: Buffer) => void) | undefined} also */
  const collector = (into, also) => (/** @type {Buffer} */ data) => {
    size += data.length;
    if (size <= MAX_COLLECTED) into.push(data);
    also?.(data);
  };
  const running = new Command(machine, command, {
    ...options,
    onStdout: collector(collected.stdout, options.onStdout),
    onStderr: collector(collected.stderr, options.onStderr),
  });
  if (options.stdin !== undefined) running.write(Buffer.from(options.stdin));
  running.end();
  const exitCode = await withDeadline(machine, running.exited, options.timeout, command, () =>
    Buffer.concat(collected.stdout).toString(),
  );
  if (size > MAX_COLLECTED)
    throw new LabError(`${command.join(' ')} wrote ${size} bytes, more than can be collected (${MAX_COLLECTED})`);
  return {
    stdout: Buffer.concat(collected.stdout).toString(),
    stderr: Buffer.concat(collected.stderr).toString(),
    exitCode,
  };
}

/** As timeout(1) has it. */
const TIMEOUT_EXIT = 124;

/**
 * Waits for a command, and kills the lab when that takes too long.
 *
 * @param {import('./machine.js').Machine} machine
 * @param {Promise<number>} exited
 * @param {number | undefined} seconds
 * @param {string[]} command
 * @param {() => string} [output] what it has written, for the error
 */
export async function withDeadline(machine, exited, seconds, command, output) {
  if (seconds === undefined || seconds === 0) return exited;
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve('late'), seconds * 1000);
  });
  try {
    const outcome = await Promise.race([exited, late]);
    if (typeof outcome === 'number') return outcome;
  } finally {
    clearTimeout(timer);
  }
  const tail = output?.().trimEnd().split('\n').slice(-40).join('\n  ');
  const said = tail ? `\nlast lines that it wrote:\n  ${tail}` : '';
  const error = new LabError(
    machine.explain(`the lab was killed: ${command.join(' ')} did not end within ${seconds} s${said}`),
    { exitCode: TIMEOUT_EXIT },
  );
  await machine.kill();
  throw error;
}
