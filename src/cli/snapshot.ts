/** `tsvmm snapshot inspect`, `verify`, `merge` and `vmcore`: the findings, for people and for programs. Main thread. */
import { stat } from 'node:fs/promises';
import { quote } from '../disk/range.js';
import { writeCrashDump } from '../snapshot/crash-dump.js';
import { openSnapshot } from '../snapshot/load-snapshot.js';
import type { DiskEntry, DiskReference } from '../snapshot/manifest.js';
import { mergeSnapshot } from '../snapshot/merge-snapshot.js';
import type { OpenSnapshot } from '../snapshot/open-snapshot.js';
import type { WorkOptions } from '../snapshot/progress.js';
import { verifySnapshot } from '../snapshot/verify-snapshot.js';
import { diskReference } from '../snapshot/write-snapshot.js';
import type { SnapshotRequest } from './snapshot-commands.js';
import { type Inspection, renderInspection } from './snapshot-text.js';

/** Does what was asked and answers what there is to say. Rejects as src/snapshot does. */
export async function snapshotAction(
  request: SnapshotRequest,
  options: WorkOptions,
): Promise<{ text: string; data: object }> {
  await using snapshot = await openSnapshot(request.directory);
  const { directory } = snapshot;
  switch (request.command) {
    case 'inspect': {
      const data = await inspect(snapshot);
      return { text: renderInspection(data), data };
    }
    case 'verify':
      await verifySnapshot(snapshot, options);
      return { text: `${quote(directory)} is as it was written\n`, data: { directory, verified: true } };
    case 'merge':
      await mergeSnapshot(snapshot, request.to, options);
      return { text: `${quote(request.to)} is whole by itself\n`, data: { directory, merged: request.to } };
    case 'vmcore':
      await writeCrashDump(snapshot, request.to, options);
      return {
        text: `${quote(request.to)} has ${snapshot.vcpus} vCPUs and all of RAM\n`,
        data: { directory, vmcore: request.to },
      };
  }
}

async function inspect(snapshot: OpenSnapshot): Promise<Inspection> {
  const { directory, manifest, memorySize, pieces, sections, vcpus, layers } = snapshot;
  const { id, createdAt, tsvmm, memory, state, parents, disks, machine } = manifest;
  const hex = (values: Record<string, bigint>): Record<string, string> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, `0x${value.toString(16)}`]));
  return {
    directory,
    id,
    createdAt,
    tsvmm,
    memory: {
      size: memorySize,
      regions: memory.regions,
      pieces: pieces.map(({ offset, length, layer }) => ({
        offset,
        length,
        file: layer === undefined ? null : `${layer === layers[0] ? '.' : parentOf(snapshot, layer)}/${layer.name}`,
      })),
    },
    parents,
    disks: await Promise.all(disks.map(diskNow)),
    vcpus: Array.from({ length: vcpus }, (_, cpu) => hex(snapshot.registers(cpu).all())),
    sections: state.map(({ name }) => ({ name, length: sections.get(name)!.length })),
    machine,
  };
}

const parentOf = ({ manifest, layers }: OpenSnapshot, layer: OpenSnapshot['layers'][number]): string =>
  manifest.parents[layers.indexOf(layer) - 1]!.directory;

/** A disk that lies elsewhere, with whether it still is what it was. */
async function diskNow(disk: DiskEntry): Promise<Inspection['disks'][number]> {
  if (disk.kind !== 'reference') return disk;
  return { ...disk, now: await fileNow(disk) };
}

async function fileNow(then: DiskReference): Promise<'unchanged' | 'changed' | 'missing'> {
  const isThere = await stat(then.path).then(
    () => true,
    () => false, // for whatever reason: nobody can use it from here
  );
  if (!isThere) return 'missing';
  const now = await diskReference(then.path);
  const fields = ['size', 'dev', 'ino', 'mtimeNs'] as const;
  return fields.every((field) => now[field] === then[field]) ? 'unchanged' : 'changed';
}
