/**
 * GRUB commands that read the disk: `source`, `configfile`, `load_env`, `search`, `probe`, and the `blscfg` of the Red Hat
 * family (GNU GRUB 2.06 manual §16.3). Main thread.
 */
import type { FileSystemType } from '../fs/file-system.js';
import { blscfg } from './blscfg-command.js';
import { type Command, status, statusOf } from './command.js';
import { environmentBlockLimit, parseEnvironmentBlock } from './environment-block.js';
import type { Interpreter } from './interpreter.js';
import { parseOptions } from './options.js';
import { parseSearch, parseShortSearch, type SearchKind, type SearchRequest, search } from './search.js';

/** GRUB counts `source` and `configfile` as success even when the file is missing. */
const source: Command = async (shell, [file]) => {
  if (file === undefined) return status.failed;
  await shell.source(file);
  return status.ok;
};

const configfile: Command = async (shell, [file]) => {
  if (file === undefined) return status.failed;
  await shell.configfile(file);
  return status.ok;
};

const normal: Command = async (shell, [file]) => {
  await shell.configfile(file ?? `${shell.env.get('prefix') ?? ''}/grub.cfg`);
  return status.ok;
};

/** The entries of another file, without its settings: here they join the menu where the command stands. */
const extractEntries: Command = async (shell, [file]) => {
  if (file === undefined) return status.failed;
  const { env } = shell;
  shell.env = env.copy();
  await shell.source(file);
  shell.env = env;
  return status.ok;
};

const loadEnv: Command = async (shell, args) => {
  const parsed = parseOptions(args, { file: { short: 'f', value: 'required' }, 'skip-sig': { short: 's' } });
  if (parsed === undefined) return status.failed;
  const file = parsed.options.get('file')?.at(-1) ?? `${shell.env.get('prefix') ?? ''}/grubenv`;
  const at = shell.locate(file);
  const text = typeof at === 'string' ? undefined : await shell.surroundings.disk.readText(at, environmentBlockLimit);
  const variables = text === undefined ? undefined : parseEnvironmentBlock(text);
  if (variables === undefined) return status.failed;
  for (const [name, value] of variables) {
    if (parsed.rest.length === 0 || parsed.rest.includes(name)) shell.env.set(name, value);
  }
  return status.ok;
};

async function runSearch(shell: Interpreter, request: SearchRequest | undefined): Promise<number> {
  if (request === undefined) return status.failed;
  const { disk } = shell.surroundings;
  const volume = await search(disk, request);
  if (volume !== undefined && request.variable !== undefined) shell.env.set(request.variable, disk.nameOf(volume));
  return statusOf(volume !== undefined);
}

const shortSearch =
  (kind: SearchKind): Command =>
  (shell, args) =>
    runSearch(shell, parseShortSearch(kind, args));

/** As GRUB's drivers are called: one for all of ext, one for all of FAT. */
const driverName = (type: FileSystemType): string =>
  type.startsWith('ext') ? 'ext2' : type.startsWith('fat') ? 'fat' : type;

/** `probe --set=VARIABLE --fs-uuid DEVICE` and what else it can tell of a device. */
const probe: Command = (shell, args) => {
  const parsed = parseOptions(args, {
    set: { short: 's', value: 'required' },
    driver: { short: 'd' },
    partmap: { short: 'p' },
    fs: { short: 'f' },
    'fs-uuid': { short: 'u' },
    label: { short: 'l' },
    'part-uuid': {},
  });
  const device = parsed?.rest[0]?.replace(/^\((.*)\)$/, '$1');
  const volume = device === undefined ? undefined : shell.surroundings.disk.volume(device);
  if (parsed === undefined || volume === undefined) return status.failed;
  const tables = { gpt: 'gpt', mbr: 'msdos', none: 'none' } as const;
  const asked = (name: string): boolean => parsed.options.has(name);
  const answer = asked('partmap')
    ? tables[volume.scheme]
    : asked('fs')
      ? driverName(volume.fs.type)
      : asked('fs-uuid')
        ? volume.fs.uuid
        : asked('label')
          ? volume.fs.label
          : asked('part-uuid')
            ? volume.partitionUuid
            : 'biosdisk';
  const variable = parsed.options.get('set')?.at(-1);
  if (variable !== undefined) shell.env.set(variable, answer);
  return status.ok;
};

const regexp: Command = (shell) => {
  shell.surroundings.note('the configuration uses `regexp`, which is not followed');
  return status.failed;
};

export const fileCommands: readonly (readonly [string, Command])[] = [
  ['source', source],
  ['.', source],
  ['configfile', configfile],
  ['normal', normal],
  ['extract_entries_source', extractEntries],
  ['extract_entries_configfile', extractEntries],
  ['load_env', loadEnv],
  ['search', (shell, args) => runSearch(shell, parseSearch(args))],
  ['search.fs_uuid', shortSearch('fs-uuid')],
  ['search.fs_label', shortSearch('label')],
  ['search.file', shortSearch('file')],
  ['search_fs_uuid', shortSearch('fs-uuid')],
  ['search_label', shortSearch('label')],
  ['search_fs_file', shortSearch('file')],
  ['probe', probe],
  ['blscfg', blscfg],
  ['bls_import', blscfg],
  ['regexp', regexp],
];
