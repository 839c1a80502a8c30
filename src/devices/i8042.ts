/**
 * The i8042 keyboard controller with nothing plugged in, at ports 0x60 and 0x64 (IBM PS/2 technical reference, keyboard
 * and auxiliary device controller). vCPU worker, machine lock.
 *
 * It is there for two reasons: it resets the machine, and a driver that probes for it waits half a second for each answer
 * that never comes. So every command that has an answer gets it at once, and a byte for an absent keyboard or mouse
 * comes back as 0xFE with the time-out bit, as from a real controller whose cable is cut.
 */
import { type RegistersOf, registerMap, u8 } from '../memory/registers.js';
import { asBits, bit, has } from './bits.js';
import { ByteDevice } from './byte-device.js';
import { MachineEvent, type SetLine, type Wires } from './wires.js';

/** ISA interrupt of the keyboard; the mouse's, 12, is never used. */
const keyboardGsi = 1;

const Status = {
  outputFull: bit<'i8042 status'>(0),
  system: bit<'i8042 status'>(2),
  /** The last write went to the command port. */
  command: bit<'i8042 status'>(3),
  unlocked: bit<'i8042 status'>(4),
  /** The byte in the output buffer is the mouse's. */
  fromMouse: bit<'i8042 status'>(5),
  timeout: bit<'i8042 status'>(6),
} as const;

const Config = {
  keyboardInterrupt: bit<'i8042 config'>(0),
  system: bit<'i8042 config'>(2),
  keyboardDisabled: bit<'i8042 config'>(4),
  mouseDisabled: bit<'i8042 config'>(5),
} as const;
/** As firmware leaves it: both ports off, self test passed. */
const configReset = Config.system | Config.keyboardDisabled | Config.mouseDisabled;

const Command = {
  readMemory: 0x20, // to 0x3f; 0x20 is the configuration byte
  writeMemory: 0x60, // to 0x7f
  testPassword: 0xa4,
  disableMouse: 0xa7,
  enableMouse: 0xa8,
  testMouse: 0xa9,
  selfTest: 0xaa,
  testKeyboard: 0xab,
  disableKeyboard: 0xad,
  enableKeyboard: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  echoKeyboard: 0xd2,
  echoMouse: 0xd3,
  writeMouse: 0xd4,
  /** To 0xff: pulses output port bits 0-3, those that are 0 in the command; bit 0 resets the processor. */
  pulse: 0xf0,
} as const;
const memoryMask = 0x1f;

const Answer = {
  selfTestPassed: 0x55,
  interfaceWorks: 0x00,
  clockStuckLow: 0x01,
  noPassword: 0xf1,
  /** Keyboard not locked. */
  inputPort: 0x80,
  resend: 0xfe,
} as const;

/** Output port: bit 0 low resets the processor, bit 1 is the A20 gate, which has no effect here. */
const notReset = 0x01;
const outputPortReset = 0x03;

export const I8042Map = registerMap('i8042', {
  config: u8,
  outputPort: u8,
  /** Status bits 0, 5 and 6 of the byte in `output`. */
  outputStatus: u8,
  output: u8,
  /** The command whose data byte is awaited, or 0. */
  awaiting: u8,
  lastWasCommand: u8,
  /** Level last given to the interrupt line. */
  line: u8,
});
export type I8042Registers = RegistersOf<typeof I8042Map>;

export function resetI8042(buffer: ArrayBufferLike, base: number): void {
  const registers = I8042Map.over(buffer, base);
  registers.config = configReset;
  registers.outputPort = outputPortReset;
  registers.outputStatus = 0;
  registers.output = 0;
  registers.awaiting = 0;
  registers.lastWasCommand = 0;
  registers.line = 0;
}

/** The keyboard's interrupt is on while its buffer is full and configuration bit 0 allows it. */
export function updateKeyboardLine(registers: I8042Registers, setLine: SetLine): void {
  const status = asBits<'i8042 status'>(registers.outputStatus);
  const waiting = has(status, Status.outputFull) && !has(status, Status.fromMouse);
  const level = waiting && has(asBits<'i8042 config'>(registers.config), Config.keyboardInterrupt) ? 1 : 0;
  if (level === registers.line) return;
  registers.line = level;
  setLine(keyboardGsi, level);
}

/** The controller behind both of its ports. */
class Controller {
  readonly registers: I8042Registers;
  readonly #wires: Wires;

  constructor(registers: I8042Registers, wires: Wires) {
    this.registers = registers;
    this.#wires = wires;
  }

  get status(): number {
    const { config, outputStatus, lastWasCommand } = this.registers;
    const system = has(asBits<'i8042 config'>(config), Config.system) ? Status.system : 0;
    return outputStatus | system | Status.unlocked | (lastWasCommand !== 0 ? Status.command : 0);
  }

  take(): number {
    const { registers } = this;
    registers.outputStatus = 0;
    this.#updateLine();
    return registers.output; // reading an empty buffer gives the last byte again
  }

  command(command: number): void {
    const { registers } = this;
    registers.lastWasCommand = 1;
    registers.awaiting = 0;
    switch (command) {
      case Command.testPassword:
        this.#answer(Answer.noPassword);
        break;
      case Command.disableMouse:
        this.#configure(registers.config | Config.mouseDisabled);
        break;
      case Command.enableMouse:
        this.#configure(registers.config & ~Config.mouseDisabled);
        break;
      case Command.testMouse:
        this.#answer(Answer.clockStuckLow);
        break; // which is how a driver learns that there is no mouse port
      case Command.selfTest:
        this.#configure(configReset);
        this.#answer(Answer.selfTestPassed);
        break;
      case Command.testKeyboard:
        this.#answer(Answer.interfaceWorks);
        break;
      case Command.disableKeyboard:
        this.#configure(registers.config | Config.keyboardDisabled);
        break;
      case Command.enableKeyboard:
        this.#configure(registers.config & ~Config.keyboardDisabled);
        break;
      case Command.readInputPort:
        this.#answer(Answer.inputPort);
        break;
      case Command.readOutputPort:
        this.#answer(registers.outputPort);
        break;
      case Command.writeOutputPort:
      case Command.echoKeyboard:
      case Command.echoMouse:
      case Command.writeMouse:
        registers.awaiting = command;
        break;
      default:
        this.#otherCommand(command);
    }
  }

  data(value: number): void {
    const { registers } = this;
    const command = registers.awaiting;
    registers.lastWasCommand = 0;
    registers.awaiting = 0;
    switch (command) {
      case Command.writeMemory:
        this.#configure(value);
        break;
      case Command.writeOutputPort:
        registers.outputPort = value;
        if ((value & notReset) === 0) this.#reset();
        break;
      case Command.echoKeyboard:
      case Command.echoMouse: // comes back without the mouse's bit: there is no mouse port
        this.#answer(value);
        break;
      case Command.writeMouse:
        this.#answer(Answer.resend, Status.fromMouse | Status.timeout);
        break;
      case 0:
        this.#answer(Answer.resend, Status.timeout);
        break;
      default: // a byte for controller memory that we do not have
    }
  }

  #otherCommand(command: number): void {
    if (command >= Command.pulse) {
      if ((command & notReset) === 0) this.#reset();
    } else if ((command & ~memoryMask) === Command.readMemory) {
      this.#answer(command === Command.readMemory ? this.registers.config : 0);
    } else if ((command & ~memoryMask) === Command.writeMemory) this.registers.awaiting = command;
  }

  #configure(config: number): void {
    this.registers.config = config;
    this.#updateLine();
  }

  /** Replaces what nobody has read. */
  #answer(byte: number, status = 0): void {
    this.registers.output = byte;
    this.registers.outputStatus = Status.outputFull | status;
    this.#updateLine();
  }

  #updateLine(): void {
    updateKeyboardLine(this.registers, (gsi, level) => this.#wires.setLine(gsi, level));
  }

  #reset(): void {
    this.#wires.raise(MachineEvent.reset, 0);
  }
}

/** Port 0x60. */
class DataPort extends ByteDevice {
  readonly name = 'i8042 data';
  readonly #controller: Controller;

  constructor(controller: Controller) {
    super();
    this.#controller = controller;
  }

  override readByte(): number {
    return this.#controller.take();
  }

  override writeByte(_offset: number, value: number): void {
    this.#controller.data(value);
  }
}

/** Port 0x64: status when read. */
class CommandPort extends ByteDevice {
  readonly name = 'i8042 command';
  readonly #controller: Controller;

  constructor(controller: Controller) {
    super();
    this.#controller = controller;
  }

  override readByte(): number {
    return this.#controller.status;
  }

  override writeByte(_offset: number, value: number): void {
    this.#controller.command(value);
  }
}

export function makeI8042(registers: I8042Registers, wires: Wires): { data: ByteDevice; command: ByteDevice } {
  const controller = new Controller(registers, wires);
  return { data: new DataPort(controller), command: new CommandPort(controller) };
}
