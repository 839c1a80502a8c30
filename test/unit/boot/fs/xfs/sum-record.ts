/** The checksum of a record in an XFS log, made right: over its header and its content (`xlog_cksum()`). */
import { checksumOf } from '../../../../../src/boot/fs/xfs/block-header.js';
import { recordField } from '../../../../../src/boot/fs/xfs/log.js';

/** What a block that begins a record begins with. */
export const recordMagic = 0xfeedbabe;

/** `header` is the record's first block, where the checksum goes; without extended headers. */
export function sumRecord(header: Buffer, content: Buffer): void {
  const summed = Buffer.concat([header.subarray(0, recordField.end), content]);
  header.writeUInt32LE(checksumOf(summed, recordField.checksum), recordField.checksum);
}

/** How many bytes of content a record says that it has; what is damaged may say anything. */
export const contentLength = (header: Buffer): number => Math.min(header.readUInt32BE(recordField.length), 32 * 1024);
