/**
 * The lab on the command line: `npm run lab`, `npm run lab:image`. See docs/test-beds.md.
 */
import { parseArgs } from 'node:util';
import { ensureDisks, ensureLab, ensureMicrovmKernel, LabError, runInLab } from './lab/index.js';

const usage = `usage: npm run lab -- [OPTION]... [--] COMMAND [ARGUMENT]...    run a command in the lab
       npm run lab:image                                        build the lab
       node scripts/lab.js disks                                build the test disks, print where they are
       node scripts/lab.js kernel                               build the kernel for microVMs (15 minutes), print its files

  --copy HOSTPATH:LABPATH   bring a file or folder into the lab first (LABPATH/ keeps its name)
  --get LABPATH:HOSTPATH    bring a file or folder back afterwards
  --smp N                   processors of the lab (1)
  --memory M                its memory in MiB (3072)
  --timeout S               kill the lab after S seconds (900; none on a terminal; 0: none)

The command runs as root in /project, which is this checkout's built product; the test disks are in /images.
The exit code is the command's; 124 after the timeout, 125 when the lab itself failed, 2 for wrong usage.`;

/** @param {string} message @returns {never} */
function misuse(message) {
  throw new LabError(message, { hint: 'node scripts/lab.js --help shows the usage', exitCode: 2 });
}

/** @param {string} option @param {string} text */
function pair(option, text) {
  const at = text.lastIndexOf(':');
  if (at <= 0 || at === text.length - 1) misuse(`--${option} ${text}: two paths with a colon between are needed`);
  return { from: text.slice(0, at), to: text.slice(at + 1) };
}

/** @param {string} option @param {string | undefined} text @param {number} least @param {number} most */
function integer(option, text, least, most) {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    misuse(`--${option} ${text}: a whole number from ${least} to ${most} is needed`);
  return value;
}

/** The command begins at the first word that is neither an option nor its value. @param {string[]} words */
function splitCommand(words) {
  let at = 0;
  while (at < words.length && words[at]?.startsWith('--') && words[at] !== '--')
    at += words[at]?.includes('=') || words[at] === '--help' ? 1 : 2;
  return { options: words.slice(0, at), command: words.slice(words[at] === '--' ? at + 1 : at) };
}

/** @param {string[]} words @returns {Promise<number>} */
async function run(words) {
  const { options, command } = splitCommand(words);
  const text = /** @type {const} */ ({ type: 'string' });
  const list = /** @type {const} */ ({ type: 'string', multiple: true });
  /** @type {ReturnType<typeof parse>} */
  let values;
  const parse = () =>
    parseArgs({
      args: options,
      options: { copy: list, get: list, smp: text, memory: text, timeout: text, help: { type: 'boolean' } },
    }).values;
  try {
    values = parse();
  } catch (error) {
    return misuse(error instanceof Error ? error.message : String(error));
  }
  if (values.help) {
    console.log(usage);
    return 0;
  }
  if (command.length === 0) misuse('no command given');
  const smp = integer('smp', values.smp, 1, 64);
  const memory = integer('memory', values.memory, 512, 65536);
  const timeout = integer('timeout', values.timeout, 0, 1_000_000);
  return runInLab(command, {
    copy: (values.copy ?? []).map((item) => pair('copy', item)),
    get: (values.get ?? []).map((item) => pair('get', item)),
    ...(smp === undefined ? {} : { smp }),
    ...(memory === undefined ? {} : { memory }),
    ...(timeout === undefined ? {} : { timeout }),
  });
}

/** @param {string[]} words @returns {Promise<number>} */
async function main([verb, ...words]) {
  switch (verb) {
    case 'run':
      return run(words);
    case 'image':
      await ensureLab({ disks: false });
      console.error('the lab is ready');
      return 0;
    case 'disks':
      for (const path of Object.values(await ensureDisks())) console.log(path);
      return 0;
    case 'kernel':
      for (const path of Object.values(await ensureMicrovmKernel())) console.log(path);
      return 0;
    case '--help':
    case 'help':
      console.log(usage);
      return 0;
    default:
      return misuse(verb === undefined ? 'nothing to do' : `unknown verb ${verb}`);
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  console.error(`lab: ${error.message}`);
  if (error.hint !== undefined) console.error(`lab: ${error.hint}`);
  process.exitCode = error.exitCode;
}
