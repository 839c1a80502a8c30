// Restores a machine whose memory comes from a function with ever more descriptors left, until that works; prints why it did not.
import { closeSync, openSync } from 'node:fs';
import { Snapshot, VirtualMachine } from 'tsvmm';

const [bare, whole] = process.argv.slice(2);
const snapshot = await Snapshot.open(whole);
const pages = (address, into) => snapshot.memory.readInto(address, into);
// Code that is loaded when it is needed is loaded.
await (await VirtualMachine.restore(bare, { pages })).kill();

for (let left = 0; ; left++) {
  const taken = [];
  try {
    for (;;) taken.push(openSync('/dev/null'));
  } catch {}
  for (let i = 0; i < left; i++) closeSync(taken.pop());
  const ended = await VirtualMachine.restore(bare, { pages })
    .then(async (vm) => {
      // Its devices may still be on their way to a thread when it is there.
      const failed = await vm.pause().catch(({ code }) => code);
      const { reason } = await vm.kill();
      return failed ?? reason;
    })
    .catch(({ code }) => code);
  for (const fd of taken) closeSync(fd);
  console.log(ended);
  if (ended === 'killed') break;
}
