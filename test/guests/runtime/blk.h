/* A driver for virtio-blk (virtio 1.2 §5.2), one queue, shared by the guests that use a disk. */
#ifndef GUEST_BLK_H
#define GUEST_BLK_H

#include "virtqueue.h"

enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_WRITE_ZEROES = 13 };
enum { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2, BLK_PENDING = 0xee };
enum { SECTOR_BYTES = 512, BLK_ID_BYTES = 20, BLK_MAX_DEPTH = 64, BLK_MAX_SEGMENTS = 32 };
#define BLK_FEATURE_RO (1ul << 5)
#define BLK_FEATURE_BLK_SIZE (1ul << 6)
#define BLK_FEATURE_FLUSH (1ul << 9)
#define BLK_FEATURE_MULTI_QUEUE (1ul << 12)
#define BLK_FEATURE_DISCARD (1ul << 13)
#define BLK_FEATURE_WRITE_ZEROES (1ul << 14)

struct blk_header {
  u32 type, reserved;
  u64 sector;
};

/* A range of a discard or write-zeroes request (§5.2.6); the flag is of the latter. */
enum { BLK_UNMAP = 1 };
struct blk_range {
  u64 sector;
  u32 sectors, flags;
};

/* One slot of the pipeline: a header, a status byte and a data buffer that belong to it for good. */
struct blk_request {
  struct blk_header header;
  volatile u8 status;
  u8 *data;
  u32 data_bytes;
  u16 head; /* while in flight */
  bool in_flight;
};

struct blk {
  struct virtio_device device;
  struct virtqueue queue;
  u64 sectors;
  bool read_only;
  u32 depth, segments, buffer_bytes;
  struct blk_request *requests;
  u32 completed;
};

/* Sectors of the disk. */
u64 blk_capacity(const struct virtio_device *device);
/* Device `index`, features of `wanted`, a pipeline of `depth` requests of up to `buffer_bytes` in `segments` pieces. */
void blk_open(struct blk *blk, u32 index, u64 wanted, enum interrupt_mode mode, u16 queue_size, u32 depth, u32 segments,
              u32 buffer_bytes);
/* Publishes a request without ringing the doorbell. */
void blk_submit(struct blk *blk, struct blk_request *request, u32 type, u64 sector, u32 data_bytes);
/* Waits for any request to finish and answers it; checks the used length. */
struct blk_request *blk_complete(struct blk *blk);
/* One request, start to end, through slot 0; answers the status. */
u8 blk_run(struct blk *blk, u32 type, u64 sector, u32 data_bytes);

#endif
