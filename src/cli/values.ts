/**
 * Sizes, durations, counts, disks and CPU models as people write them on the command line. Main thread.
 *
 * Each parser names the option it reads for in its error; whether a value makes sense for a machine is for the API to say.
 */
import { TsvmmError } from '../errors.js';

const usage = (message: string, hint: string): TsvmmError => new TsvmmError('ERR_TSVMM_CONFIG', message, { hint });
const shown = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

const sizeUnits: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** '512M', '1.5G', '512MiB': bytes, units of 1024. A number alone is refused: other monitors read it as MiB. */
export function parseSize(text: string, option: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([KMGT])(?:iB)?$/i.exec(text.trim());
  if (!match) {
    const bare = /^\d+$/.test(text.trim());
    throw usage(
      bare ? `${option} ${shown(text)} has no unit` : `${option} ${shown(text)} is not a size`,
      bare
        ? `write ${text.trim()}M for mebibytes or ${text.trim()}G for gibibytes`
        : 'write a number with K, M, G or T, such as 512M or 2G',
    );
  }
  const bytes = Number(match[1]) * sizeUnits[match[2]!.toUpperCase()]!;
  if (!Number.isSafeInteger(bytes)) {
    throw usage(
      `${option} ${shown(text)} is not a whole number of bytes that can be counted`,
      'write it with a smaller unit, such as 1536M',
    );
  }
  return bytes;
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** The longest that setTimeout can wait: 2^31 - 1 ms. */
const longestDuration = 2 ** 31 - 1;

/** '500ms', '90s', '5m', '1h': milliseconds. */
export function parseDuration(text: string, option: string): number {
  const match = /^(\d{1,10}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text.trim());
  if (!match)
    throw usage(`${option} ${shown(text)} is not a duration`, 'write a number with ms, s, m or h, such as 90s');
  const milliseconds = Math.round(Number(match[1]) * durationUnits[match[2]!]!);
  if (milliseconds < 1 || milliseconds > longestDuration) {
    throw usage(`${option} ${shown(text)} is out of range`, 'write something between 1ms and 24 days');
  }
  return milliseconds;
}

export function parseCount(text: string, option: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text.trim()))
    throw usage(`${option} ${shown(text)} is not a count`, `write a whole number, such as ${option} 2`);
  return Number(text.trim());
}

/** '3' is the entry of that number, anything else a title. */
export const parseEntry = (text: string): number | string => (/^\d{1,9}$/.test(text) ? Number(text) : text);

export type CpuChoice = 'host' | { model?: string; add?: string[]; remove?: string[] };

/** 'host', 'NAME', 'host,+feature,-feature'. */
export function parseCpu(text: string): CpuChoice {
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

export interface DiskChoice {
  path: string;
  readOnly?: true;
  ephemeral?: true;
  format?: 'raw' | 'qcow2';
}

const diskFormats = ['raw', 'qcow2'] as const;
const diskHint =
  'options are readonly, ephemeral and format=raw; a comma that belongs to the file name is written twice';

/** 'FILE', 'FILE,readonly', 'FILE,format=raw': a comma that belongs to the name is written twice. */
export function parseDisk(text: string, option: string): DiskChoice {
  const [path = '', ...words] = splitAtCommas(text);
  if (path === '')
    throw usage(`${option} ${shown(text)} names no file`, `write ${option} FILE or ${option} FILE,readonly`);
  const disk: DiskChoice = { path };
  for (const word of words) {
    const format = word.startsWith('format=') ? diskFormats.find((name) => word === `format=${name}`) : undefined;
    if (word === 'readonly') disk.readOnly = true;
    else if (word === 'ephemeral') disk.ephemeral = true;
    else if (format) disk.format = format;
    else throw usage(`${option} ${shown(text)}: ${shown(word)} is not a disk option`, diskHint);
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
