/**
 * Files as runs of consecutive blocks: joining neighbours, and reading what they cover. Main thread.
 */

/** Consecutive blocks of a file. What no run covers is a hole. */
export interface Run {
  /** Block number in the file. */
  readonly logical: number;
  /** Block number in the file system. */
  readonly physical: number;
  readonly count: number;
}

/** Some blocks of a file as they were read. */
export interface Piece {
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Block number in the file system. */
  readonly physical: number;
  readonly bytes: Buffer;
}

/** `runs`, which are in file order, with those that go on where the one before ended put together. */
export async function* joinRuns(runs: AsyncIterable<Run>): AsyncGenerator<Run> {
  let joined: Run | undefined;
  for await (const run of runs) {
    if (joined && joined.logical + joined.count === run.logical && joined.physical + joined.count === run.physical) {
      joined = { ...joined, count: joined.count + run.count };
    } else {
      if (joined) yield joined;
      joined = run;
    }
  }
  if (joined) yield joined;
}

/** What `runs` cover, in pieces of at most `pieceBytes`, but at least a block each. */
export async function* readPieces(
  runs: AsyncIterable<Run>,
  blockSize: number,
  pieceBytes: number,
  read: (first: number, count: number) => Promise<Buffer>,
): AsyncGenerator<Piece> {
  const step = Math.max(1, Math.floor(pieceBytes / blockSize));
  for await (const run of runs) {
    for (let done = 0; done < run.count; done += step) {
      const physical = run.physical + done;
      const bytes = await read(physical, Math.min(step, run.count - done));
      yield { offset: (run.logical + done) * blockSize, physical, bytes };
    }
  }
}

/** What `runs` cover of the bytes from `offset` on, into memory; `readInto` counts bytes from the file system's start. */
export async function readRuns(
  runs: AsyncIterable<Run>,
  blockSize: number,
  offset: number,
  into: Uint8Array,
  readInto: (at: number, part: Uint8Array) => Promise<void>,
): Promise<void> {
  const end = offset + into.length;
  for await (const { logical, physical, count } of runs) {
    const start = logical * blockSize;
    const from = Math.max(start, offset);
    const to = Math.min(start + count * blockSize, end);
    if (from < to) await readInto(physical * blockSize + from - start, into.subarray(from - offset, to - offset));
  }
}
