/** The QEMU Machine Protocol, as far as the lab needs it: commands in order, each with its answer. */
import { LabError } from './tools.js';

export class Qmp {
  #socket;
  #text = '';
  /** @type {{ resolve: (value: any) => void, reject: (error: Error) => void }[]} */
  #waiting = [];
  #negotiated = false;

  /** @param {import('node:net').Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.on('data', (data) => this.#receive(data.toString()));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new LabError('QEMU ended before it answered'));
    });
  }

  /** @param {string} text */
  #receive(text) {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      const message = JSON.parse(line);
      if ('return' in message) this.#waiting.shift()?.resolve(message.return);
      else if ('error' in message) this.#waiting.shift()?.reject(new LabError(`QEMU refused: ${message.error.desc}`));
      // else a greeting or an event: nothing waits for those
    }
  }

  /** @param {string} command @param {object} [args] @returns {Promise<any>} */
  async execute(command, args = {}) {
    if (!this.#negotiated) {
      this.#negotiated = true;
      await this.#send('qmp_capabilities', {});
    }
    return this.#send(command, args);
  }

  /** @param {string} command @param {object} args */
  #send(command, args) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }
}
