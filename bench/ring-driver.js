/**
 * A driver on a thread of its own, for the ring benchmark: keeps requests of three buffers in flight on a split or a packed
 * ring, until `count` of them are done.
 */
import { workerData } from 'node:worker_threads';

const { memory, kind, size, depth, count, places } = workerData;
const words = new Uint32Array(memory);
const halves = new Uint16Array(memory);
const bytes = new Uint8Array(memory);
const [NEXT, WRITE, AVAIL, USED] = [1, 2, 1 << 7, 1 << 15];
const headerAt = (i) => places.data + i * 8192;
const lengths = [16, 4096, 1];
const addresses = (i) => [headerAt(i), headerAt(i) + 4096, headerAt(i) + 16];

function prepare(i) {
  words[headerAt(i) / 4] = 0; // read
  words[headerAt(i) / 4 + 2] = i;
  bytes[headerAt(i) + 16] = 0xee;
}

const check = (i) => {
  if (bytes[headerAt(i) + 16] !== 0) throw new Error(`request ${i} has no status`);
};

function split() {
  const [avail, used] = [places.avail / 2, places.used / 2];
  for (let i = 0; i < depth; i++)
    for (let part = 0; part < 3; part++) {
      const at = places.ring / 4 + (i * 3 + part) * 4;
      words[at] = addresses(i)[part];
      words[at + 1] = 0;
      words[at + 2] = lengths[part];
      words[at + 3] = (part < 2 ? NEXT : 0) | (part > 0 ? WRITE : 0) | ((i * 3 + part + 1) << 16);
    }
  let [offered, done] = [0, 0];
  const offer = (i) => {
    prepare(i);
    halves[avail + 2 + (offered & (size - 1))] = i * 3;
    offered++;
  };
  for (let i = 0; i < depth; i++) offer(i);
  Atomics.store(halves, avail + 1, offered & 0xffff);
  while (done < count) {
    const end = Atomics.load(halves, used + 1);
    if (end === (done & 0xffff)) continue;
    while ((done & 0xffff) !== end) {
      const i = words[places.used / 4 + 1 + (done & (size - 1)) * 2] / 3;
      check(i);
      done++;
      if (offered < count) offer(i);
    }
    Atomics.store(halves, avail + 1, offered & 0xffff);
  }
}

function packed() {
  let [at, wrap, usedAt, usedWrap, offered, done] = [0, 1, 0, 1, 0, 0];
  const offer = (i) => {
    prepare(i);
    const first = at;
    const of = addresses(i);
    let firstFlags = 0;
    for (let part = 0; part < 3; part++) {
      const word = places.ring / 4 + at * 4;
      words[word] = of[part];
      words[word + 1] = 0;
      words[word + 2] = lengths[part];
      const flags = (part < 2 ? NEXT : 0) | (part > 0 ? WRITE : 0) | (wrap === 1 ? AVAIL : USED);
      halves[word * 2 + 6] = i;
      if (part === 0) firstFlags = flags;
      else halves[word * 2 + 7] = flags;
      if (++at === size) {
        at = 0;
        wrap ^= 1;
      }
    }
    Atomics.store(halves, places.ring / 2 + first * 8 + 7, firstFlags);
    offered++;
  };
  for (let i = 0; i < depth; i++) offer(i);
  while (done < count) {
    const flags = Atomics.load(halves, places.ring / 2 + usedAt * 8 + 7);
    if (((flags & AVAIL) !== 0 ? 1 : 0) !== usedWrap || ((flags & USED) !== 0 ? 1 : 0) !== usedWrap) continue;
    const i = halves[places.ring / 2 + usedAt * 8 + 6];
    check(i);
    done++;
    usedAt += 3;
    if (usedAt >= size) {
      usedAt -= size;
      usedWrap ^= 1;
    }
    if (offered < count) offer(i);
  }
}

if (kind === 'split') split();
else packed();
