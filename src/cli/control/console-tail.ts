/**
 * The newest output of a console, for whoever attaches later. Main thread; pure.
 *
 * What asks the terminal something is left out of it: asked again, another terminal would answer, and the guest take that for
 * something that was typed. systemd asks at each boot.
 */
const size = 64 * 1024;
const lineFeed = 0x0a;

/** Questions of "XTerm Control Sequences", and where they end: BEL or ST. */
const [csi, osc, dcs, end] = ['\x1b\\[', '\x1b\\]', '\x1bP', '(?:\x07|\x1b\\\\)'];
const questions = new RegExp(
  [
    `${csi}[?>=]?[\\d;]*[cnt]`, // device attributes, status, the window
    `${csi}\\??\\d*\\$p`, // modes
    `${csi}\\?u`, // how the keyboard reports keys
    `${osc}[^\x07\x1b]*;\\?${end}`, // colours and so on
    `${dcs}[$+]q[^\x07\x1b]*${end}`, // settings, capabilities
    '\x05', // answerback
  ].join('|'),
  'g',
);

export class ConsoleTail {
  readonly #bytes = Buffer.alloc(size);
  /** Of all that ever came; the next byte goes to this place, modulo `size`. */
  #count = 0;

  add(chunk: Buffer): void {
    const newest = chunk.subarray(-size);
    const at = (this.#count + chunk.length - newest.length) % size;
    const first = newest.subarray(0, size - at);
    this.#bytes.set(first, at);
    this.#bytes.set(newest.subarray(first.length), 0);
    this.#count += chunk.length;
  }

  read(): Buffer {
    return Buffer.from(this.#newest().toString('latin1').replace(questions, ''), 'latin1');
  }

  /** Where older output is missing, from the beginning of a line on: not half of a terminal's command. */
  #newest(): Buffer {
    if (this.#count <= size) return this.#bytes.subarray(0, this.#count);
    const at = this.#count % size;
    const all = Buffer.concat([this.#bytes.subarray(at), this.#bytes.subarray(0, at)]);
    return all.subarray(all.indexOf(lineFeed) + 1);
  }
}
