/**
 * The agent in the lab: runs commands on behalf of the outside, over one virtio-serial port.
 *
 * Started by the lab's PID 1 as `node agent.js PORT`. Any number of commands may run at once, each with standard output
 * and standard error kept apart, or on a terminal of its own. When the other end of the port is gone it ends, and the
 * machine with it.
 */
import { spawn } from 'node:child_process';
import { openSync, read, readFile, write } from 'node:fs';
import { begin } from './begin.js';
import { encodeFrame, Frame, FrameReader } from './frames.js';

/** Output that waits for the port beyond this stops the commands from writing more. */
const HIGH_WATER = 1 << 20;
/** A command that has ended may have left its output to others; we wait this long for more of it. */
const LINGER_MS = 500;

const port = openSync(/** @type {string} */ (process.argv[2]), 'r+');

/** @type {Buffer[]} */
const queue = [];
let queued = 0;
let writing = false;
/** @type {Set<import('node:stream').Readable>} */
const paused = new Set();

/** @param {number} kind @param {number} id @param {Uint8Array | object} [payload] */
function send(kind, id, payload) {
  const frame = encodeFrame(kind, id, payload);
  queue.push(frame);
  queued += frame.length;
  flush();
}

function flush() {
  const frame = queue[0];
  if (writing || frame === undefined) return;
  writing = true;
  write(port, frame, 0, frame.length, null, (error, count) => {
    if (error) throw error; // nobody to tell but the console, which this reaches
    writing = false;
    queued -= count;
    if (count === frame.length) queue.shift();
    else queue[0] = frame.subarray(count);
    if (queued < HIGH_WATER) {
      for (const stream of paused) stream.resume();
      paused.clear();
    }
    flush();
  });
}

const quote = (/** @type {string} */ word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** @typedef {{ child: import('node:child_process').ChildProcess, terminal: string | undefined }} Running */
/** @type {Map<number, Running>} */
const running = new Map();

/** @param {number} id @param {import('./frames.js').ExecRequest} request */
function exec(id, request) {
  let [program = '', ...args] = request.command;
  const terminal = request.terminal === undefined ? undefined : `/run/terminal.${id}`;
  if (terminal !== undefined && request.terminal !== undefined) {
    // script(1) makes the terminal; its name is kept for later changes of its size.
    const { rows, columns } = request.terminal;
    const inner = `tty > ${terminal}; stty rows ${rows} columns ${columns}; exec ${request.command.map(quote).join(' ')}`;
    [program, args] = ['script', ['--quiet', '--return', '--flush', '--command', inner, '/dev/null']];
  }
  // A process group of its own, so that a signal reaches all of the command and nothing else.
  const child = spawn(program, args, {
    cwd: request.cwd,
    env: { ...process.env, ...request.env },
    detached: true,
    stdio: 'pipe',
  });
  running.set(id, { child, terminal });
  let done = false;
  let lastOutput = 0;
  /** @param {object} outcome */
  const finish = (outcome) => {
    if (done) return;
    done = true;
    running.delete(id);
    send(Frame.exit, id, outcome);
  };
  /** @param {import('node:stream').Readable} stream @param {number} kind */
  const forward = (stream, kind) =>
    stream.on('data', (/** @type {Buffer} */ chunk) => {
      if (done) return;
      lastOutput = Date.now();
      send(kind, id, chunk);
      if (queued < HIGH_WATER) return;
      stream.pause();
      paused.add(stream);
    });
  forward(child.stdout, Frame.stdout);
  forward(child.stderr, Frame.stderr);
  child.stdin.on('error', () => {}); // it does not want more input
  child.on('error', (error) => {
    if (child.pid !== undefined) return;
    const missing = /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT';
    send(Frame.stderr, id, Buffer.from(`lab: cannot run ${program} in ${request.cwd}: ${error.message}\n`));
    finish({ code: missing ? 127 : 126 });
  });
  child.on('exit', (code, signal) => {
    const outcome = signal === null ? { code } : { signal };
    child.on('close', () => finish(outcome));
    const linger = () => {
      const rest = lastOutput + LINGER_MS - Date.now();
      if (rest <= 0 && paused.size === 0) finish(outcome);
      else setTimeout(linger, Math.max(rest, 50));
    };
    setTimeout(linger, LINGER_MS);
  });
}

/** @param {number} id @param {{ rows: number, columns: number }} size */
function resize(id, size) {
  const terminal = running.get(id)?.terminal;
  if (terminal === undefined) return;
  readFile(terminal, 'utf8', (error, name) => {
    if (error) return; // not made yet: it starts with the size of the request
    spawn('stty', ['-F', name.trim(), 'rows', String(size.rows), 'columns', String(size.columns)], { stdio: 'ignore' });
  });
}

/** @param {number} id @param {NodeJS.Signals} signal */
function signalCommand(id, signal) {
  const pid = running.get(id)?.child.pid;
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error; // it ended by itself
  }
}

const reader = new FrameReader((kind, id, payload) => {
  switch (kind) {
    case Frame.begin:
      begin(JSON.parse(payload.toString())).then(
        () => send(Frame.begun, 0),
        (error) => send(Frame.begun, 0, { error: String(error) }),
      );
      break;
    case Frame.exec:
      exec(id, JSON.parse(payload.toString()));
      break;
    case Frame.stdin: {
      const stdin = running.get(id)?.child.stdin;
      if (payload.length > 0) stdin?.write(payload);
      else stdin?.end();
      break;
    }
    case Frame.resize:
      resize(id, JSON.parse(payload.toString()));
      break;
    case Frame.signal:
      signalCommand(id, JSON.parse(payload.toString()).signal);
      break;
    default:
      throw new Error(`unknown frame ${kind}`);
  }
});

const chunk = Buffer.alloc(1 << 16);
function receive() {
  read(port, chunk, 0, chunk.length, null, (error, count) => {
    if (error) throw error;
    if (count === 0) process.exit(0); // the other end is gone
    reader.push(Buffer.from(chunk.subarray(0, count)));
    receive();
  });
}

send(Frame.ready, 0);
receive();
