/**
 * The memory of a snapshot as machines map it: layers that stay as long as a machine shows them, however long the snapshot is
 * open. Main thread.
 */
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { errnoName } from '../host/errno.js';
import { Sys } from '../host/system.js';
import { Layer } from '../memory/layer.js';
import type { RamPiece } from '../memory/ram.js';
import type { OpenSnapshot } from './open-snapshot.js';

const F_DUPFD_CLOEXEC = 1030;

/** Each layer is held once, by its first piece: whoever maps them lets go of that with `releaseAll`. */
export function mappable(snapshot: OpenSnapshot): RamPiece[] {
  const layers = new Map<number, Layer>();
  try {
    return snapshot.pieces.map(({ offset, length, layer, layerOffset }) => {
      if (layer === undefined) return { offset, length };
      const own = layers.get(layer.fd) ?? duplicate(layer.fd);
      layers.set(layer.fd, own);
      return { offset, length, layer: own, ...(layerOffset === undefined ? {} : { layerOffset }) };
    });
  } catch (error) {
    for (const layer of layers.values()) layer.release();
    throw error;
  }
}

/** Of what `mappable` made. */
export function releaseAll(pieces: readonly RamPiece[]): void {
  for (const layer of new Set(pieces.map(({ layer }) => layer))) layer?.release();
}

function duplicate(fd: number): Layer {
  const own = native().openFd(Sys.fcntl, fd, F_DUPFD_CLOEXEC, 0);
  if (own >= 0) return new Layer(own);
  throw new TsvmmError('ERR_TSVMM_CONFIG', `the memory of a snapshot cannot be held open: ${errnoName(own)}`, {
    hint: raiseOpenFiles,
  });
}
