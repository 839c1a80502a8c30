/**
 * How a file that is being written is frozen: as a copy that shares its blocks, where the file system makes one at once, and
 * else by a history, in which whoever writes the file keeps what he changes (decision 15). Main thread.
 */
import { canClone, cloneFile, hasFewExtents } from './clone-file.js';
import { closeFd, setSize, syncData } from './file-calls.js';
import { FileHistory } from './file-history.js';
import type { FrozenLayer } from './frozen-content.js';
import type { OpenLayer } from './frozen-layers.js';
import { Held } from './held.js';
import type { OpenHistory } from './history.js';
import { openTemporary, type TemporaryFile } from './temporary-file.js';

export interface FreezableFile {
  /** For messages. */
  readonly what: string;
  readonly fd: number;
  /** How it is read at an instant: a descriptor that stays open while `held` is. */
  readonly read: Pick<OpenLayer, 'fd' | 'direct'>;
  readonly held: Held;
  /** Where a copy of it could be made; undefined for what is no file. */
  readonly directory: string | undefined;
  /** Where old blocks are kept, if not where temporary files are. */
  readonly stores: string | undefined;
}

/** What a layer is made with, at the instant. */
export interface LayerMaking extends Pick<OpenLayer, 'written'> {
  giveBack?(): void;
}

/** Copied in about a millisecond. */
const mostExtents = 128;

export class FileFreezer {
  /** Called when there is something to forget. */
  onIdle: (() => void) | undefined;
  readonly #file: FreezableFile;
  readonly #histories = new Set<FileHistory>();
  /** Whoever writes the file does not know of these any more, or is about to hear so. */
  #forgotten: FileHistory[] = [];
  #canClone: boolean | undefined;
  /** For the next instant: where old blocks go, and what becomes a copy, if nothing of the file waits to be written back. */
  #store: TemporaryFile | undefined;
  #clone: number | undefined;
  /** What `prepare` is about. */
  #preparing: Promise<void> = Promise.resolve();
  /** What was last made, and where it is kept. */
  #last: { readonly layer: FrozenLayer; readonly history: FileHistory; readonly instant: number } | undefined;

  constructor(file: FreezableFile) {
    this.#file = file;
  }

  /** For whoever writes the file. */
  get histories(): readonly OpenHistory[] {
    return Array.from(this.#histories, ({ open }) => open);
  }

  /** Opens beforehand what `freeze` needs, and writes back what waits for that where a copy can be made. */
  prepare(size: number): Promise<void> {
    const done = this.#prepare(size);
    this.#preparing = done.catch(() => {}); // its caller hears of it
    return done;
  }

  async #prepare(size: number): Promise<void> {
    const { what, fd, directory } = this.#file;
    this.#store ??= await this.#openStore(size);
    if (directory !== undefined) this.#canClone ??= await canClone(directory);
    if (this.#canClone !== true || !hasFewExtents(fd, mostExtents)) return this.#dropClone();
    this.#clone ??= await openTemporary(`a copy of ${what}`, 0, directory).then(
      (file) => file.fd,
      () => undefined, // then it is kept
    );
    await syncData(fd).catch(() => {}); // the guest hears of it when it flushes
  }

  /** What the file, as far as the disk's size, is now. Nobody writes it meanwhile, and `histories` may be others afterwards. */
  async freeze(size: number, make: () => LayerMaking = () => ({})): Promise<FrozenLayer> {
    const last = this.#unchanged(size);
    if (last !== undefined) {
      last.held.hold();
      return last;
    }
    const clone = this.#clone;
    if (clone !== undefined) {
      this.#clone = undefined;
      if (await cloneFile(this.#file.fd, clone)) {
        const { written, giveBack } = make();
        return { open: { fd: clone, written }, held: new Held(() => closeFd(clone).finally(giveBack)) };
      }
      this.#canClone = false;
      await closeFd(clone);
    }
    const store = this.#store ?? (await this.#openStore(size));
    this.#store = undefined;
    try {
      await setSize(store.fd, size); // it may have grown since
      const history = this.#historyFor(size);
      return this.#keep(history, store, make());
    } catch (error) {
      await closeFd(store.fd);
      throw error;
    }
  }

  /** `histories` are without those that nobody reads; what these hold goes with `forgotten`. */
  forget(): void {
    for (const history of this.#histories) {
      if (!history.isIdle) continue;
      this.#histories.delete(history);
      this.#forgotten.push(history);
    }
  }

  /** Whoever writes the file has been told of the `histories` that `forget` has left. */
  async forgotten(): Promise<void> {
    const gone = this.#forgotten;
    this.#forgotten = [];
    await Promise.all(gone.map((history) => history.end()));
  }

  /** Nobody writes the file any more. */
  async close(): Promise<void> {
    this.onIdle = undefined;
    await this.#preparing; // it opens files, and looks at this one
    const store = this.#store;
    this.#store = undefined;
    if (store !== undefined) await closeFd(store.fd);
    await this.#dropClone();
    await Promise.all([...this.#histories, ...this.#forgotten].map((history) => history.end()));
  }

  #openStore(size: number): Promise<TemporaryFile> {
    return openTemporary(`what copies of ${this.#file.what} still need`, size, this.#file.stores);
  }

  async #dropClone(): Promise<void> {
    const clone = this.#clone;
    this.#clone = undefined;
    if (clone !== undefined) await closeFd(clone);
  }

  #unchanged(size: number): FrozenLayer | undefined {
    if (this.#last === undefined) return undefined;
    const { layer, history, instant } = this.#last;
    const isNow = this.#histories.has(history) && history.open.size === size && history.isNow(instant);
    return isNow ? layer : undefined;
  }

  #historyFor(size: number): FileHistory {
    const newest = [...this.#histories].at(-1);
    return newest?.open.size === size && newest.hasRoom ? newest : new FileHistory(size);
  }

  #keep(history: FileHistory, store: TemporaryFile, { written, giveBack }: LayerMaking): FrozenLayer {
    const { read, held } = this.#file;
    this.#histories.add(history);
    const instant = history.begin(store);
    held.hold();
    const giveAllBack = async (): Promise<void> => {
      giveBack?.();
      await history.release(instant);
      await held.release();
      if (history.isIdle) this.onIdle?.();
    };
    const open: OpenLayer = { ...read, written, past: { history: history.open, instant } };
    const layer = { open, held: new Held(giveAllBack) };
    this.#last = { layer, history, instant };
    return layer;
  }
}
