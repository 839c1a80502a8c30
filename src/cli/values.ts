/**
 * Sizes, durations, counts, disks and CPU models as people write them on the command line. Main thread.
 *
 * Each parser names the option it reads for in its error; whether a value makes sense for a machine is for the API to say.
 */
import { TsvmmError } from '../errors.js';
import type { DiskOptions } from '../machine/disk-options.js';
import type { VmOptions } from '../machine/options.js';
import { parseDuration as durationInMs, parseSize as sizeInBytes } from '../machine/units.js';
import { didYouMean } from '../suggest.js';

const usage = (message: string, hint: string): TsvmmError => new TsvmmError('ERR_TSVMM_CONFIG', message, { hint });
const shown = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

/** '512M', '1.5G': bytes. A number alone is refused: the API takes it for bytes, other monitors for MiB. */
export function parseSize(text: string, option: string): number {
  if (/^\s*\d+\s*$/.test(text)) {
    throw usage(
      `${option} ${shown(text)} has no unit`,
      `write ${text.trim()}M for mebibytes or ${text.trim()}G for gibibytes`,
    );
  }
  return sizeInBytes(option, text);
}

/** '500ms', '90s', '5m': milliseconds. */
export function parseDuration(text: string, option: string): number {
  const milliseconds = Math.round(durationInMs(option, text));
  if (milliseconds >= 1) return milliseconds;
  throw usage(`${option} ${shown(text)} is no time at all`, 'write a number with ms, s or m, such as 90s or 5m');
}

export function parseCount(text: string, option: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text.trim()))
    throw usage(`${option} ${shown(text)} is not a count`, `write a whole number, such as ${option} 2`);
  return Number(text.trim());
}

const topologyHint = 'write --cpus N, or with parts: --cpus 8,sockets=2,cores=2,threads=2';

/** '8', '8,sockets=2,cores=2,threads=2', 'sockets=2,cores=4': a number of vCPUs, and how the guest sees them. */
export function parseCpus(text: string, option: string): Pick<VmOptions, 'cpus' | 'topology'> {
  let cpus: number | undefined;
  const topology: NonNullable<VmOptions['topology']> = {};
  for (const [i, word] of text.split(',').entries()) {
    const [, name, count] = /^(?:(sockets|cores|threads)=)?([1-9]\d{0,5})$/.exec(word.trim()) ?? [];
    if (count === undefined || (name === undefined && i > 0)) {
      if (/^[^,=]*$/.test(text)) return { cpus: parseCount(text, option) };
      throw usage(`${option} ${shown(text)}: ${shown(word)} is not a count of sockets, cores or threads`, topologyHint);
    }
    const part = name as keyof typeof topology | undefined;
    if (part === undefined) cpus = Number(count);
    else if (topology[part] === undefined) topology[part] = Number(count);
    else throw usage(`${option} ${shown(text)} says ${part} twice`, topologyHint);
  }
  return { ...(cpus !== undefined && { cpus }), ...(Object.keys(topology).length > 0 && { topology }) };
}

/** '3' is the entry of that number, anything else a title. */
export const parseEntry = (text: string): number | string => (/^\d{1,9}$/.test(text) ? Number(text) : text);

/** One of a few words. */
export function parseChoice<const T extends string>(text: string, option: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw usage(`${option} ${shown(text)} does not exist`, didYouMean(text, choices, `write ${choices.join(' or ')}`));
}

/** 'host', 'NAME', 'host,+feature,-feature'. */
export function parseCpu(text: string): NonNullable<VmOptions['cpu']> {
  const [model = '', ...features] = text.split(',').map((part) => part.trim());
  if (!/^[A-Za-z0-9][\w.-]*$/.test(model)) {
    throw usage(`--cpu ${shown(text)} does not begin with a CPU model`, 'write host, or host,+feature,-feature');
  }
  const add: string[] = [];
  const remove: string[] = [];
  for (const feature of features) {
    if (!/^[+-][A-Za-z0-9][\w.]*$/.test(feature)) {
      throw usage(
        `--cpu ${shown(text)}: ${shown(feature)} is not a feature to add or remove`,
        'write +feature or -feature, such as --cpu host,-avx512f',
      );
    }
    (feature[0] === '+' ? add : remove).push(feature.slice(1));
  }
  if (model === 'host' && features.length === 0) return 'host';
  return { ...(model !== 'host' && { model }), ...(add.length > 0 && { add }), ...(remove.length > 0 && { remove }) };
}

const cacheModes = ['writeback', 'direct', 'unsafe'] as const;
const diskWords = [
  'readonly',
  'ephemeral',
  'ephemeral=SIZE',
  'on-error=stop',
  'format=raw',
  'bytes-per-second=SIZE',
  'ops-per-second=N',
  ...cacheModes.map((mode) => `cache=${mode}`),
];
const diskHint =
  'options are readonly, ephemeral, ephemeral=SIZE, cache=writeback|direct|unsafe, on-error=stop, bytes-per-second=SIZE, ops-per-second=N and format=raw; a comma that belongs to the file name is written twice';

/** 'FILE', 'FILE,readonly', 'FILE,cache=direct': a comma that belongs to the name is written twice. */
export function parseDisk(text: string, option: string): DiskOptions & { path: string } {
  const [path = '', ...words] = splitAtCommas(text);
  if (path === '')
    throw usage(`${option} ${shown(text)} names no file`, `write ${option} FILE or ${option} FILE,readonly`);
  const disk: DiskOptions & { path: string } = { path };
  for (const word of words) {
    const [name, value = ''] = word.split(/=(.*)/s);
    const cache = cacheModes.find((mode) => word === `cache=${mode}`);
    if (word === 'readonly') disk.readOnly = true;
    else if (word === 'ephemeral') disk.ephemeral = true;
    else if (name === 'ephemeral' && value !== '') disk.ephemeral = { limit: parseSize(value, `${option} ${name}`) };
    else if (word === 'on-error=stop') disk.onError = 'stop';
    else if (word === 'format=raw') disk.format = 'raw';
    else if (cache !== undefined) disk.cache = cache;
    else if (name === 'bytes-per-second' && value !== '')
      disk.limit = { ...disk.limit, bytesPerSecond: parseSize(value, `${option} ${name}`) };
    else if (name === 'ops-per-second' && /^[1-9]\d{0,8}$/.test(value))
      disk.limit = { ...disk.limit, opsPerSecond: Number(value) };
    else
      throw usage(
        `${option} ${shown(text)}: ${shown(word)} is not a disk option`,
        didYouMean(word, diskWords, diskHint),
      );
  }
  return disk;
}

/** Splits at single commas; two in a row are one comma of the text. */
function splitAtCommas(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] === ',' && text[i + 1] !== ',') {
      parts.push(part);
      part = '';
      continue;
    }
    if (text[i] === ',') i++;
    part += text[i];
  }
  return [...parts, part];
}
