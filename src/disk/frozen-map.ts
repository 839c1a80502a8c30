/** A disk that is the content of another at an instant, and never written: the device refuses that. The I/O worker. */
import type { DiskMap, OpenFrozen } from './disk-map.js';
import { FrozenLayers } from './frozen-layers.js';

export class FrozenMap extends FrozenLayers implements DiskMap {
  readonly syncFd = -1;
  readonly writesBriefly = false;

  constructor(disk: OpenFrozen, offsets: Float64Array) {
    super(disk.layers, offsets);
  }

  locateRead(request: number, length: number): number {
    return this.locate(request, length);
  }

  locateWrite(): number {
    return 0;
  }

  locateHole(): number {
    return 0;
  }

  ended(): void {}

  close(): void {}

  wrote(): void {}
}
