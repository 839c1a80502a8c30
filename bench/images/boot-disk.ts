/**
 * The disk of the boot preparation benches: 20 GiB, sparse, made by the distributions' tools. Its kernel is the host's
 * Debian cloud kernel if one is installed, so that it can be loaded; else bytes of the same size.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MiB = 2 ** 20;
const diskSize = 20 * 1024 * MiB;
const rootStart = 257 * MiB;
const initrdSize = 30 * MiB;
const version = '6.1.0-13-cloud-amd64';

export interface BootDisk {
  readonly path: string;
  /** Bytes. */
  readonly rootOffset: number;
  readonly kernelPath: string;
  readonly initrdPath: string;
  readonly kernelSize: number;
  readonly initrdSize: number;
  /** The same bytes as plain files, for `cat`. */
  readonly files: readonly string[];
  remove(): void;
}

const tools = ['sgdisk', 'mkfs.fat', 'mke2fs', 'debugfs', 'sfdisk', 'cat'];

/** What is not installed, for people; undefined if all is there. */
export function missingTools(): string | undefined {
  const missing = tools.filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
  if (hostKernel() === undefined) missing.push('/boot/vmlinuz-*-cloud-amd64 (linux-image-cloud-amd64)');
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

function hostKernel(): string | undefined {
  const name = readdirSync('/boot').find((file) => /^vmlinuz-.*-cloud-amd64$/.test(file));
  return name && join('/boot', name);
}

export function bootDisk(): BootDisk {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-bench-'));
  const path = join(folder, 'disk.img');
  const root = join(folder, 'root');
  const kernelPath = `/boot/vmlinuz-${version}`;
  const initrdPath = `/boot/initrd.img-${version}`;
  mkdirSync(join(root, 'boot/grub'), { recursive: true });
  mkdirSync(join(root, 'etc'));
  copyFileSync(hostKernel()!, join(root, kernelPath));
  writeFileSync(join(root, initrdPath), randomBytes(initrdSize));
  writeFileSync(join(root, 'etc/fstab'), '');
  const entry = `linux ${kernelPath} root=UUID=\${root_uuid} ro quiet\n  initrd ${initrdPath}`;
  writeFileSync(join(root, 'boot/grub/grub.cfg'), `set default=0\nmenuentry 'Debian GNU/Linux' {\n  ${entry}\n}\n`);
  const run = (tool: string, ...args: string[]): void => {
    const { status, stderr } = spawnSync(tool, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${tool}: ${stderr}`);
  };
  run('truncate', '-s', String(diskSize), path);
  run('sgdisk', '-n', '1:1M:+255M', '-t', '1:ef00', '-n', `2:${rootStart / 512}:0`, '-t', '2:8304', path);
  run('mkfs.fat', '--offset', String((1 * MiB) / 512), '-F', '32', path, String((255 * MiB) / 1024));
  const extended = `offset=${rootStart},lazy_itable_init=1,lazy_journal_init=1`;
  run('mke2fs', '-q', '-F', '-t', 'ext4', '-E', extended, '-d', root, path, `${(diskSize - rootStart - MiB) / 1024}k`);
  const kernelSize = spawnSync('stat', ['-c', '%s', join(root, kernelPath)], { encoding: 'utf8' }).stdout;
  return {
    path,
    rootOffset: rootStart,
    kernelPath,
    initrdPath,
    kernelSize: Number(kernelSize),
    initrdSize,
    files: [join(root, kernelPath), join(root, initrdPath)],
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
