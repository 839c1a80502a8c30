/**
 * Random reads from a disk image, wherever it comes from. Main thread (boot preparation), never the guest's data path.
 */
export interface BlockReader {
  /** Bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes at `offset`. Rejects with `ERR_TSVMM_DISK_IO` when the range is not inside the image or the
   * host cannot read it.
   */
  read(offset: number, length: number): Promise<Buffer>;
  /** As `read`, all of `into`: content goes where it is wanted without a copy. */
  readInto(offset: number, into: Uint8Array): Promise<void>;
}
