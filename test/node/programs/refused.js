/**
 * In a runtime that tsvmm refuses: importing it works, and everything that needs the addon says why it does not, before
 * anything of ours has started. With the argument "electron" this Node says that it is Electron.
 */
import process from 'node:process';
import { guestFile } from './machine.js';

const pretended = process.argv[2];
if (pretended === 'electron')
  Object.defineProperty(process.versions, 'electron', { value: '45.0.0', enumerable: true });
if (pretended?.startsWith('v')) Object.defineProperty(process.versions, 'node', { value: pretended.slice(1) });
if (pretended === 'darwin') Object.defineProperty(process, 'platform', { value: pretended });
if (pretended === 'arm64') Object.defineProperty(process, 'arch', { value: pretended });

const { prewarm, TsvmmError, VirtualMachine } = await import(new URL('../../../dist/index.js', import.meta.url).href);
const outcomes = [];
for (const start of [
  () => VirtualMachine.start({ memory: '32M', boot: { kernel: guestFile('halt') } }),
  () => prewarm({ vcpus: 1 }),
]) {
  try {
    await start();
    outcomes.push({ code: 'started' });
  } catch (error) {
    const { code, message, hint } = error;
    outcomes.push({ code, message, hint, own: error instanceof TsvmmError });
  }
}
console.log(JSON.stringify(outcomes));
process.exit(0); // machines that did start run on
