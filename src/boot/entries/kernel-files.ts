/**
 * Entries made from the kernels that lie on the disk, where no boot configuration was found: Debian's `/vmlinuz` and
 * `/initrd.img` first, then `vmlinuz-VERSION` with its initrd in `/boot`, newest first. Main thread.
 */
import { TsvmmError } from '../../errors.js';
import type { Partition } from '../disk/partition-table.js';
import { type BootEntry, type FoundEntries, firstBootable } from './boot-entry.js';
import { findRoot, type Root, rootArgument } from './root-device.js';
import { compareParts, versionParts } from './version-order.js';
import { type Volume, volumeName } from './volume.js';
import { withHint } from './with-hint.js';

interface KernelFile {
  readonly volume: Volume;
  /** Absolute. */
  readonly path: string;
  readonly initrd: string | undefined;
  readonly label: string;
}

/** So many kernels are offered. */
const maxKernels = 64;
/** So many of a directory are put in order; a system keeps a few. */
const maxVersions = 512;
const osReleaseLimit = 64 << 10;

/** Links that Debian's and openSUSE's packages keep pointing at the newest and the previous kernel. */
const links: readonly { readonly kernel: string; readonly initrds: readonly string[] }[] = [
  { kernel: 'vmlinuz', initrds: ['initrd.img', 'initrd'] },
  { kernel: 'vmlinuz.old', initrds: ['initrd.img.old', 'initrd.old'] },
];

const kernelName = /^vmlinuz-(.+)$/;
/** Not kernels, or kernels put aside. */
const leftovers = /\.(old|bak|sig|hmac|efi|dpkg-[a-z]+|rpm[a-z]+)$/;
/** Debian; Fedora, Arch; openSUSE; others. */
const initrdNames = (version: string): string[] => [
  `initrd.img-${version}`,
  `initramfs-${version}.img`,
  `initrd-${version}`,
  `initrd-${version}.img`,
  `initramfs-${version}`,
];

export async function findKernelFiles(
  volumes: readonly Volume[],
  partitions: readonly Partition[],
): Promise<FoundEntries> {
  const problems: string[] = [];
  const entries: BootEntry[] = [];
  for (const volume of volumes) {
    try {
      const kernels = [...(await linkedKernels(volume)), ...(await versionedKernels(volume))];
      if (kernels.length === 0) continue;
      const root = await findRoot(volume, volumes, partitions);
      const system = await systemName(root?.volume ?? volume);
      const room = maxKernels - entries.length;
      for (const kernel of kernels.slice(0, room)) entries.push(entryFor(kernel, root, system, entries.length));
    } catch (error) {
      if (!(error instanceof TsvmmError)) throw error;
      problems.push(`${volumeName(volume.partition)}: ${withHint(error)}`);
    }
  }
  return { entries, defaultEntry: firstBootable(entries), problems };
}

const join = (directory: string, name: string): string => (directory === '/' ? `/${name}` : `${directory}/${name}`);

async function isKernel({ fs }: Volume, path: string): Promise<boolean> {
  const found = await fs.stat(path);
  return found?.kind === 'file' && found.size > 0;
}

async function linkedKernels(volume: Volume): Promise<KernelFile[]> {
  const found: KernelFile[] = [];
  for (const { kernel, initrds } of links) {
    for (const directory of ['/', '/boot']) {
      const path = join(directory, kernel);
      if (!(await isKernel(volume, path))) continue;
      const paths = initrds.map((name) => join(directory, name));
      found.push({ volume, path, initrd: await firstFile(volume, paths), label: path });
      break;
    }
  }
  return found;
}

async function firstFile(volume: Volume, paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isKernel(volume, path)) return path;
  return undefined;
}

async function versionedKernels(volume: Volume): Promise<KernelFile[]> {
  const found: {
    directory: string;
    name: string;
    version: string;
    parts: readonly string[];
    names: ReadonlySet<string>;
  }[] = [];
  for (const directory of ['/boot', '/']) {
    if ((await volume.fs.stat(directory))?.kind !== 'directory') continue;
    const names = new Set((await volume.fs.list(directory)).map(({ name }) => name));
    const end = found.length + maxVersions;
    for (const name of names) {
      if (found.length === end) break;
      const version = kernelName.exec(name)?.[1];
      if (version !== undefined && !leftovers.test(name))
        found.push({ directory, name, version, parts: versionParts(version), names });
    }
  }
  found.sort((a, b) => compareParts(b.parts, a.parts));
  const kernels: KernelFile[] = [];
  for (const { directory, name, version, names } of found.slice(0, maxKernels)) {
    const path = join(directory, name);
    if (!(await isKernel(volume, path))) continue;
    const paths = initrdNames(version)
      .filter((initrd) => names.has(initrd))
      .map((initrd) => join(directory, initrd));
    kernels.push({ volume, path, initrd: await firstFile(volume, paths), label: `Linux ${version}` });
  }
  return kernels;
}

function entryFor(kernel: KernelFile, root: Root | undefined, system: string, index: number): BootEntry {
  const { partition } = kernel.volume;
  const title = `${system}, ${kernel.label}`;
  const file = { partition, path: kernel.path };
  const hasInitrd = kernel.initrd !== undefined;
  return {
    kind: 'kernel',
    title,
    id: title,
    path: title,
    indexPath: String(index),
    kernel: file,
    initrds: kernel.initrd === undefined ? [] : [{ partition, path: kernel.initrd }],
    cmdline: root === undefined ? '' : `${rootArgument(root, hasInitrd)} ro`,
    source: file,
    problem: root === undefined ? 'no partition that looks like its root file system was found' : undefined,
  };
}

/** PRETTY_NAME of os-release(5); "Linux" if there is none that can be read. */
async function systemName(volume: Volume): Promise<string> {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    const text = await readSmallFile(volume, path);
    const name = /^PRETTY_NAME=(?:"([^"\n]*)"|'([^'\n]*)'|(\S+))/m.exec(text);
    const value = name?.[1] ?? name?.[2] ?? name?.[3];
    if (value !== undefined && value !== '') return value;
  }
  return 'Linux';
}

/** Empty if it is not there or damaged: a name is not worth an error. */
async function readSmallFile({ fs }: Volume, path: string): Promise<string> {
  try {
    const found = await fs.stat(path);
    if (found?.kind !== 'file' || found.size > osReleaseLimit) return '';
    return (await fs.readFile(path, osReleaseLimit)).toString('utf8');
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    return '';
  }
}
