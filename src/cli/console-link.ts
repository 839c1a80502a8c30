/**
 * Connects a guest's console with the program's own input and output. Main thread.
 *
 * Output goes out as it is, at the pace of its reader. Input goes to the guest; its end does not end the guest. On a
 * terminal in raw mode every key goes to the guest but Ctrl-], which leaves. The console is that of a machine in this process, or
 * of one in another (control/remote-console.ts).
 */
import type { Duplex, Readable, Writable } from 'node:stream';

export interface OutputHooks {
  /** Sees every chunk, once it has gone out. */
  onData?(chunk: Buffer): void;
  /** Nothing more can be written: the reader of the output went away, or there is no room for it. */
  onGone(error: Error): void;
}

/** Shows the console on `output`. The promise resolves when the console has ended and everything is handed over. */
export function showConsole(guest: Duplex, output: Writable, hooks: OutputHooks): Promise<void> {
  return new Promise((resolve) => {
    guest.once('end', resolve).once('close', resolve);
    guest.on('error', () => resolve()); // the machine's own exit says what happened
    output.once('error', (error) => {
      guest.unpipe(output);
      guest.resume(); // the guest must not stall on a console that nobody reads
      hooks.onGone(error);
    });
    guest.pipe(output, { end: false });
    const { onData } = hooks;
    if (onData) guest.on('data', (chunk: Buffer) => onData(chunk)); // after the pipe's own listener
  });
}

/** Ctrl-], as in telnet and virsh. */
const escapeKey = 0x1d;
/** What is kept of keys that the guest does not take; more is dropped, so that Ctrl-] is always seen. */
const mostTyped = 64 * 1024;

/** Gives `input` to the guest; answers what disconnects it. With `onEscape`, Ctrl-] calls it instead of being sent. */
export function feedConsole(guest: Duplex, input: Readable, onEscape?: () => void): () => void {
  const send = (bytes: Buffer): boolean => !guest.writable || guest.write(bytes);
  const onData = (chunk: Buffer): void => {
    if (onEscape) {
      const at = chunk.indexOf(escapeKey);
      const typed = at < 0 ? chunk : chunk.subarray(0, at);
      if (typed.length > 0 && guest.writableLength < mostTyped) send(typed);
      // Pressed twice while we were busy, it comes twice at once.
      if (at >= 0) for (const key of chunk.subarray(at)) if (key === escapeKey) onEscape();
    } else if (!send(chunk)) {
      input.pause();
      guest.once('drain', () => input.resume());
    }
  };
  const onError = (): void => stop(); // a terminal that hung up (EIO); SIGHUP says so too
  const stop = (): void => {
    input.off('data', onData).pause();
  };
  input.on('data', onData).on('error', onError);
  return () => {
    stop();
    input.off('error', onError);
  };
}

/** Tells once when `text` has appeared in a stream of chunks, however it was cut. */
export function textWatcher(text: string, onSeen: () => void): (chunk: Buffer) => void {
  const wanted = Buffer.from(text);
  let tail: Buffer = Buffer.alloc(0);
  let seen = false;
  return (chunk) => {
    if (seen) return;
    const joined = tail.length === 0 ? chunk : Buffer.concat([tail, chunk]);
    if (joined.includes(wanted)) {
      seen = true;
      onSeen();
    } else tail = Buffer.from(joined.subarray(Math.max(0, joined.length - wanted.length + 1)));
  };
}
