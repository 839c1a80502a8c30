/**
 * `tsvmm __complete KIND PREFIX WORD...`: what a shell's completion cannot know by itself, a line each. Main thread. A key
 * press waits for it, so neither commander nor the machine is loaded.
 */
import { cpuFeatures } from '../kvm/cpu-features.js';
import { cpuModels } from '../kvm/cpu-models.js';
import { checkRuntimeDirectory, namesIn, runtimeDirectory } from './control/runtime-directory.js';
import { printable } from './print.js';
import { parseRun } from './run-flags.js';

/** The lines for what stands before the cursor; none when nothing fits or the disk cannot be read. */
export async function complete(kind: string, prefix: string, words: readonly string[]): Promise<readonly string[]> {
  if (kind === 'cpu') return cpuChoices(prefix);
  if (kind === 'machine') return machineNames();
  return kind === 'entry' ? entryTitles(words) : [];
}

/** Whether each of them still runs, the command will see. */
function machineNames(): string[] {
  try {
    const folder = runtimeDirectory();
    return checkRuntimeDirectory(folder) ? namesIn(folder) : [];
  } catch {
    return []; // as below
  }
}

/** A model or 'help', then 'host,+feature' and 'host,-feature' for the part after the last comma. */
function cpuChoices(prefix: string): string[] {
  const comma = prefix.lastIndexOf(',');
  if (comma < 0) return ['host', ...cpuModels.keys(), 'help'];
  const before = prefix.slice(0, comma + 1);
  return [...cpuFeatures.keys()].flatMap((name) => [`${before}+${name}`, `${before}-${name}`]);
}

/** The titles of the boot entries of the disk that is named on the command line. */
async function entryTitles(words: readonly string[]): Promise<string[]> {
  // The option that is being completed has no value yet, which no parser takes.
  const before = words.slice(
    1,
    words.findLastIndex((word) => word === '--entry' || word.startsWith('--entry=')),
  );
  const disk = words[0] === 'run' ? (parseRun(before)?.disk ?? parseRun(words.slice(1))?.disk) : undefined;
  if (disk === undefined) return [];
  try {
    const { inspectImage } = await import('./inspect.js');
    const { entries } = (await inspectImage(disk)).data as { entries: readonly { readonly title: string }[] };
    // Titles are the image's: one that a shell's line cannot show as it is would not be typed either.
    return entries.map(({ title }) => title).filter((title) => title === printable(title) && !title.includes('\n'));
  } catch {
    return []; // a shell has no place for an error; tsvmm run will say it
  }
}
