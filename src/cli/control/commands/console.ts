/** `tsvmm console NAME`: the guest's console on this terminal, beside whoever else has it. Main thread. */
import { attachTerminal } from '../attach-terminal.js';
import { controlCommand } from '../command.js';

export const consoleCommand = controlCommand({
  name: 'console',
  request: {},
  result: {},
  async serve(_fields, served) {
    await served.machine();
    served.consoles.checkRoom();
    return {};
  },
  stream: (socket, rest, served) => served.consoles.attach(socket, rest),
  verb: {
    text: 'show the console of a machine, and type on it',
    examples: [
      ['tsvmm console web', 'begins with the last output; Ctrl-] leaves'],
      ["echo 'systemctl poweroff' | tsvmm console web", 'type a line, then look on'],
    ],
    options: [],
    async run(_options, connect, io): Promise<number> {
      const client = await connect();
      await client.request(consoleCommand, {});
      return attachTerminal(client, io);
    },
  },
});
