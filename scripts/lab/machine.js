/**
 * One QEMU process that emulates the lab host, and its channels: QMP, the agent's port and the serial console.
 *
 * The channels are socket pairs that QEMU inherits, so there are no socket files, and the agent sees the end of this
 * process as the end of its port. QEMU is also killed by the kernel when this process dies.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame, Frame, FrameReader } from './agent/frames.js';
import { ROOT_LABEL } from './host.js';
import { shellQuote } from './process.js';
import { Qmp } from './qmp.js';
import { LabError, toolEnvironment } from './tools.js';

/** How much of the serial console is kept to explain a failure. */
const CONSOLE_TAIL = 64 * 1024;

/** Booting takes about 20 s, resuming 2; beyond these something is wrong. */
const BOOT_MS = 300_000;
const BEGIN_MS = 120_000;

/**
 * @typedef {object} Drive
 * @property {string} name how the lab finds it: its serial
 * @property {string} file
 * @property {'raw' | 'qcow2'} format
 * @property {'discard' | 'keep' | 'durable'} writes `discard`: to a nameless overlay; `keep`: to the file, through the page cache; `durable`: to the file, past it
 */

/**
 * @typedef {object} MachineOptions
 * @property {string} emulator the program (emulator.js)
 * @property {string} kernelFolder holds `vmlinuz` and `initrd.img`
 * @property {string} runFolder where this run may put its files
 * @property {number} smp
 * @property {number} memory MiB
 * @property {string} memoryFile what holds the machine's RAM
 * @property {boolean} shareMemory true: RAM is written to that file; false: it starts from the file, copy-on-write
 * @property {Drive[]} drives
 * @property {boolean} [incoming] true: it waits for `load` instead of booting
 */

const channels = /** @type {const} */ ({ qmp: 3, agent: 4, console: 5 });

/** @param {Drive} drive */
function driveArguments({ name, file, format, writes }) {
  const cache = { discard: 'cache=unsafe,snapshot=on', keep: 'cache=unsafe', durable: 'cache=none' }[writes];
  const path = file.replaceAll(',', ',,');
  return [
    ...['-drive', `id=${name},if=none,format=${format},file=${path},${cache},discard=unmap,detect-zeroes=unmap`],
    ...['-device', `virtio-blk-pci,drive=${name},serial=${name}`],
  ];
}

/** @param {MachineOptions} options */
function machineArguments(options) {
  const { smp, memory, memoryFile, shareMemory, kernelFolder } = options;
  const channel = (/** @type {string} */ name, /** @type {number} */ fd) => ['-chardev', `socket,id=${name},fd=${fd}`];
  return [
    ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-machine', 'q35,memory-backend=ram', '-accel', 'tcg,thread=multi', '-cpu', 'EPYC,+svm,+npt'],
    ...['-smp', String(smp), '-m', `${memory}M`],
    ...[
      '-object',
      `memory-backend-file,id=ram,size=${memory}M,mem-path=${memoryFile.replaceAll(',', ',,')},share=${shareMemory ? 'on' : 'off'}`,
    ],
    ...['-kernel', join(kernelFolder, 'vmlinuz'), '-initrd', join(kernelFolder, 'initrd.img')],
    // QEMU's #VMEXIT clears CPU_INTERRUPT_VIRQ with a plain store and can lose an interrupt that another thread raises at
    // that moment. Periodic ticks raise what is pending again within 4 ms; a one-shot timer would be gone for ever.
    '-append',
    `root=LABEL=${ROOT_LABEL} rw init=/lab/init console=ttyS0 quiet panic=-1 watchdog_thresh=60 mitigations=off apparmor=0 init_on_alloc=0 clocksource=tsc tsc=reliable nohz=off highres=off`,
    ...channel('qmp', channels.qmp),
    ...['-mon', 'chardev=qmp,mode=control'],
    ...channel('console', channels.console),
    ...['-serial', 'chardev:console'],
    ...channel('agent', channels.agent),
    ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=agent,name=agent'],
    ...['-device', 'virtio-rng-pci'],
    ...options.drives.flatMap(driveArguments),
    ...(options.incoming === true ? ['-incoming', 'defer'] : []),
  ];
}

export class Machine {
  /** The end of this process, with what is known of its cause. @type {Promise<LabError>} */
  dead;
  /** @type {Qmp} */
  qmp;
  #child;
  /** @type {import('node:net').Socket} */
  #agent;
  #console = '';
  #stderr = '';
  /** @type {Map<number, (kind: number, id: number, payload: Buffer) => void>} */
  #listeners = new Map();
  #lastId = 0;

  /** @param {MachineOptions} options */
  constructor(options) {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', options.emulator, ...machineArguments(options)], {
      cwd: options.runFolder,
      env: { ...toolEnvironment(), TMPDIR: options.runFolder },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
      detached: true, // an interrupt from the terminal is for the command in the lab, not for QEMU
    });
    this.#child = child;
    this.dead = new Promise((resolve) => {
      child.once('error', (error) => resolve(new LabError(`cannot start QEMU: ${error.message}`, { cause: error })));
      child.once('close', (code, signal) =>
        resolve(new LabError(this.explain(`the lab ended by itself (QEMU: ${signal ?? code})`))),
      );
    });
    // What the agent sent is still delivered, and whoever held it back does not hold back the end.
    child.once('exit', () => this.#agent.resume());
    child.stderr?.on('data', (/** @type {Buffer} */ data) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-CONSOLE_TAIL);
    });
    const socket = (/** @type {number} */ fd) => /** @type {import('node:net').Socket} */ (child.stdio[fd]);
    // A channel that breaks does so because QEMU has ended, which `dead` tells.
    for (const fd of [channels.qmp, channels.agent, channels.console]) socket(fd).on('error', () => {});
    socket(channels.console).on('data', (data) => {
      this.#console = (this.#console + data.toString('latin1')).slice(-CONSOLE_TAIL);
    });
    this.qmp = new Qmp(socket(channels.qmp));
    this.#agent = socket(channels.agent);
    const reader = new FrameReader((kind, id, payload) => this.#listeners.get(id)?.(kind, id, payload));
    this.#agent.on('data', (data) => reader.push(data));
  }

  /** @param {string} what @returns {string} it, with the last lines of the console and what QEMU said */
  explain(what) {
    const lines = this.#console.replaceAll('\r', '').trimEnd().split('\n').slice(-40);
    const parts = [what];
    // The emulation lacks a few features of the processor that it is told to be, none of which matters here.
    const said = this.#stderr
      .split('\n')
      .filter((line) => line.trim() !== '' && !line.includes("TCG doesn't support requested feature"));
    if (said.length > 0) parts.push('QEMU said:', ...said.slice(-10));
    if (this.#console.trim() !== '') parts.push('last lines of the lab console:', ...lines.map((line) => `  ${line}`));
    return parts.join('\n');
  }

  /** The next answer of the agent that is about no command. @param {number} kind @param {number} deadline ms @param {string} what */
  #answer(kind, deadline, what) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new LabError(this.explain(`the lab did not ${what} within ${deadline / 1000} s`))),
        deadline,
      );
      this.#listeners.set(0, (got, _id, payload) => {
        if (got !== kind) return;
        clearTimeout(timer);
        resolve(JSON.parse(payload.toString()));
      });
      this.dead.then((error) => {
        clearTimeout(timer);
        reject(error);
      });
    });
  }

  /** After a fresh boot: until the agent is up. */
  booted() {
    return this.#answer(Frame.ready, BOOT_MS, 'boot');
  }

  /**
   * Once, before commands: sets the lab's time and random numbers, mounts this run's drives, puts copied files in place.
   *
   * @param {{ images: boolean }} options whether the images drive holds a file system
   */
  async begin({ images }) {
    const begun = this.#answer(Frame.begun, BEGIN_MS, 'begin');
    this.send(Frame.begin, 0, { time: Date.now(), entropy: randomBytes(64).toString('hex'), images });
    const { error } = await begun;
    if (error !== undefined) throw new LabError(this.explain(`the lab could not begin: ${error}`));
  }

  /** @param {number} kind @param {number} id @param {Uint8Array | object} payload */
  send(kind, id, payload) {
    return this.#agent.write(encodeFrame(kind, id, payload));
  }

  /** Registers a command. @param {(kind: number, id: number, payload: Buffer) => void} listener @returns {number} its number */
  open(listener) {
    const id = ++this.#lastId;
    this.#listeners.set(id, listener);
    return id;
  }

  /** @param {number} id */
  close(id) {
    this.#listeners.delete(id);
  }

  /** Stops or lets run what the agent sends. @param {boolean} flowing */
  flow(flowing) {
    if (flowing) this.#agent.resume();
    else this.#agent.pause();
  }

  /** Calls back once the agent can be sent more. @param {() => void} callback */
  onDrain(callback) {
    this.#agent.once('drain', callback);
  }

  /**
   * Stops the machine and writes the state of its devices to a file; its RAM is in a file already.
   *
   * @param {string} file
   */
  async save(file) {
    await this.qmp.execute('stop');
    await this.#ignoreSharedMemory();
    await this.qmp.execute('migrate', { uri: `exec:cat > ${shellQuote(file)}` });
    await this.#migrated();
    // `quit` and not a kill: it closes the disk images in order.
    await this.qmp.execute('quit').catch(() => {}); // it may end before it answers
    await this.dead;
  }

  /** Starts a machine that waits for it from a file that `save` wrote. @param {string} file */
  async load(file) {
    await this.#ignoreSharedMemory();
    await this.qmp.execute('migrate-incoming', { uri: `exec:cat ${shellQuote(file)}` });
    await this.#migrated();
    await this.qmp.execute('cont');
  }

  #ignoreSharedMemory() {
    return this.qmp.execute('migrate-set-capabilities', {
      capabilities: [{ capability: 'x-ignore-shared', state: true }],
    });
  }

  async #migrated() {
    for (;;) {
      const { status, 'error-desc': description } = await this.qmp.execute('query-migrate');
      if (status === 'completed') return;
      if (status === 'failed' || status === 'cancelled')
        throw new LabError(this.explain(`the state of the lab could not be moved: ${description ?? status}`));
      await sleep(5);
    }
  }

  /** Ends the machine at once, as a power cut would. */
  async kill() {
    this.#child.kill('SIGKILL');
    await this.dead;
  }
}
