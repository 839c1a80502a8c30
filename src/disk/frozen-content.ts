/**
 * The content of a disk at an instant, as long as somebody has it: whatever becomes of the disk, what it is read from stays
 * open, and an image among that stays locked. Main thread.
 */
import { TsvmmError } from '../errors.js';
import type { DirectIo } from './direct-io.js';
import type { OpenFrozen } from './disk-map.js';
import type { OpenLayer } from './frozen-layers.js';
import type { Held } from './held.js';
import { quote } from './range.js';

export interface FrozenLayer {
  readonly open: OpenLayer;
  readonly held: Held;
}

/** Which file an image is, to be known again: as a snapshot's manifest says it. */
export interface ImageReference {
  readonly path: string;
  readonly size: number;
  readonly dev: string;
  readonly ino: string;
  readonly mtimeNs: string;
}

export interface FrozenFacts {
  /** Of the image, for messages. */
  readonly path: string;
  readonly size: number;
  /** As the guest sees it. */
  readonly readOnly: boolean;
  readonly ioSize: number;
  /** How it is read. */
  readonly direct: DirectIo | undefined;
  /** The disk is open for direct I/O, whatever it is read from. */
  readonly isDirect: boolean;
  /** Of what a copy writes, as that of the disk itself was limited. */
  readonly limit: number | undefined;
  /** The image whose content it is; undefined when that is in no image. */
  readonly reference: ImageReference | undefined;
}

/** A read looks through all of them in turn; their descriptors are shared by all copies. */
const mostLayers = 64;

export class FrozenContent {
  readonly facts: FrozenFacts;
  readonly layers: readonly FrozenLayer[];

  /** Takes the layers over. */
  constructor(facts: FrozenFacts, layers: readonly FrozenLayer[]) {
    this.facts = facts;
    this.layers = layers;
  }

  get open(): OpenFrozen {
    const { size, direct } = this.facts;
    return { kind: 'frozen', layers: this.layers.map(({ open }) => open), size, readOnly: true, direct };
  }

  /** For one more, who releases it. */
  hold(): this {
    for (const { held } of this.layers) held.hold();
    return this;
  }

  async release(): Promise<void> {
    await Promise.all(this.layers.map(({ held }) => held.release()));
  }
}

/** Throws for a disk that is a copy of copies so often that another layer is too much. */
export function checkDepth(path: string, layers: number): void {
  if (layers < mostLayers) return;
  throw new TsvmmError(
    'ERR_TSVMM_SNAPSHOT',
    `${quote(path)} lies in ${layers} layers, each of a copy of the one below`,
    {
      hint: 'take a snapshot of the machine and go on from that: there a disk is one file again',
    },
  );
}
