import { expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import {
  ioCqringOffsets,
  ioSqringOffsets,
  ioUringCqe,
  ioUringParams,
  ioUringSqe,
} from '../../../src/host/io-uring-layout.js';

test.each([ioUringParams, ioSqringOffsets, ioCqringOffsets, ioUringSqe, ioUringCqe])(
  '$name is as in linux/io_uring.h',
  (layout) => {
    const header = native().layouts()[layout.name]!;
    expect(layout.size).toBe(header.size);
    for (const [field, offset] of Object.entries(header.offsets)) {
      expect([field, (layout.offset as Record<string, number>)[field]]).toEqual([field, offset]);
    }
  },
);
