/** A connection to the socket of a machine, or the knowledge that nobody is there. Main thread. */
import { createConnection, type Socket } from 'node:net';

/** There is no socket, or the process that made it is gone: unix(7). */
export const isGone = (error: unknown): boolean =>
  ['ECONNREFUSED', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '');

/** Rejects with Node's error. */
export function connectTo(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('error', reject).once('connect', () => resolve(socket.off('error', reject)));
  });
}

/** A process has the socket open, whether or not it answers. */
export const isListening = (path: string): Promise<boolean> =>
  connectTo(path).then(
    (socket) => {
      socket.destroy();
      return true;
    },
    (error) => !isGone(error),
  );
