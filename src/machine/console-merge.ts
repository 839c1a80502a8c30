/**
 * Joins the output of the serial port and of the virtio console into one stream, in which a message of the kernel that
 * both carry comes once. Main thread.
 *
 * With both as its consoles Linux prints every message on both, and whichever console is registered later begins with
 * all that was printed before. What carries the kernel's time stamp and was shown from the other port already is left
 * out; nothing else is. So early messages and panics are seen whether or not the virtio console's driver is there.
 */

/** `printk` with CONFIG_PRINTK_TIME, and with CONFIG_PRINTK_CALLER behind it. */
const stamp = /\[ {0,4}\d{1,10}\.\d{6}\](?=[ [])/;
/** The beginning of one, at the end of what has come so far; not that of an escape sequence. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: ESC
const stampBegun = /(?<!\x1b)\[ {0,4}(?:\d{1,10}(?:\.\d{0,6}\]?)?)?$/;
/** The kernel's own limit of one message is 1024 bytes (PRINTK_MESSAGE_MAX is 2048 with its prefixes). */
const longestMessage = 2048;
/** Characters of messages remembered for each port: more than the log buffers of distributions' kernels hold. */
const memory = 512 * 1024;

interface Port {
  /** A message, or what may become one, whose line is not complete. */
  held: string;
  /** Messages that this port has shown and the other has not carried yet, in the order in which they came. */
  readonly shown: Set<string>;
  shownLength: number;
}

export type PortIndex = 0 | 1;

export class ConsoleMerge {
  readonly #ports: readonly [Port, Port] = [newPort(), newPort()];

  /** What of the output of one port is to be shown now. */
  take(index: PortIndex, chunk: Buffer): Buffer {
    const port = this.#ports[index];
    // Nothing to compare and nothing that could be compared later: the usual case once a guest has booted.
    if (port.held === '' && !chunk.includes('[')) return chunk;
    const text = port.held + chunk.toString('latin1');
    port.held = '';
    let shown = '';
    for (let at = 0; at < text.length; ) {
      const newline = text.indexOf('\n', at);
      const line = text.slice(at, newline < 0 ? undefined : newline + 1);
      at += line.length;
      const complete = newline >= 0;
      const begin = stamp.exec(line)?.index ?? (complete ? -1 : (stampBegun.exec(line)?.index ?? -1));
      if (begin < 0) shown += line;
      else if (complete) shown += line.slice(0, begin) + this.#once(index, line.slice(begin));
      else if (line.length - begin > longestMessage) shown += line;
      else {
        shown += line.slice(0, begin);
        port.held = line.slice(begin);
      }
    }
    return Buffer.from(shown, 'latin1');
  }

  /** A port holds back the beginning of what may be a message. */
  get holds(): boolean {
    return this.#ports.some(({ held }) => held !== '');
  }

  /** What a port holds back, when nothing more has come for a while. */
  release(index: PortIndex): Buffer {
    const port = this.#ports[index];
    const { held } = port;
    port.held = '';
    return Buffer.from(held, 'latin1');
  }

  /** `message` with its line end, or nothing when the other port has shown it. */
  #once(index: PortIndex, message: string): string {
    const other = this.#ports[index === 0 ? 1 : 0];
    const key = message.trimEnd();
    if (other.shown.delete(key)) {
      other.shownLength -= key.length;
      return '';
    }
    const port = this.#ports[index];
    if (!port.shown.has(key)) {
      port.shown.add(key);
      port.shownLength += key.length;
    }
    for (const oldest of port.shown) {
      if (port.shownLength <= memory) break;
      port.shown.delete(oldest);
      port.shownLength -= oldest.length;
    }
    return message;
  }
}

const newPort = (): Port => ({ held: '', shown: new Set(), shownLength: 0 });
