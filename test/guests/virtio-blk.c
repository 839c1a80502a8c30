/*
 * virtio-blk: reads, writes and abuses a virtio disk within the rules, and verifies every byte.
 *
 * The pattern: the i-th 32-bit word of sector s is (s * 128 + i + seed) mod 2^32, little-endian, so that no two words
 * of a disk are alike and a host program can make or verify the same content.
 *
 * Options: by=msix | intx | poll; indirect; event-index; device=N; queue-size=N; depth=N; segments=N; start=SECTOR;
 * sectors=N; chunk=SECTORS a request; seed=N; tests=LIST of write, verify, checksum, flush, id, range, odd, read-only,
 * clear (default: all but verify, checksum, clear and reset, and of write and read-only the one that fits the disk), reset with
 * resets=N (10); decline=LIST of ro, flush: features not to negotiate.
 */
#include "runtime/blk.h"
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { WORDS_PER_SECTOR = SECTOR_BYTES / 4, UNKNOWN_TYPE = 99, OURS_AGAIN = 0x5a, RESET_WATCH_US = 2000 };

static struct blk disk;
static u64 start, sectors;
static u32 chunk, seed;

static void fill_pattern(u8 *data, u64 sector, u32 count) {
  u32 value = (u32)(sector * WORDS_PER_SECTOR) + seed, *word = (u32 *)data;
  for (u32 i = 0; i < count * WORDS_PER_SECTOR; i++) word[i] = value++;
}

static void verify_pattern(const u8 *data, u64 sector, u32 count) {
  u32 value = (u32)(sector * WORDS_PER_SECTOR) + seed;
  const u32 *word = (const u32 *)data;
  for (u32 i = 0; i < count * WORDS_PER_SECTOR; i++, value++)
    check(word[i] == value, "sector %lu word %u is 0x%x instead of 0x%x", sector + i / WORDS_PER_SECTOR,
          i % WORDS_PER_SECTOR, word[i], value);
}

static u32 sum_words(const u8 *data, u32 count) {
  u32 sum = 0;
  for (u32 i = 0; i < count * WORDS_PER_SECTOR; i++) sum += ((const u32 *)data)[i];
  return sum;
}

/* Runs over the whole range with `depth` requests in flight; answers the sum of the words read when asked for it. */
static u32 run_range(u32 type, bool verify) {
  u64 next = start, end = start + sectors;
  u32 in_flight = 0, sum = 0;
  while (next < end || in_flight > 0) {
    for (u32 i = 0; i < disk.depth && next < end; i++) {
      struct blk_request *r = &disk.requests[i];
      if (r->in_flight || !virtqueue_has_room(&disk.queue, 2 + disk.segments)) continue;
      u32 count = end - next < chunk ? (u32)(end - next) : chunk;
      if (type == BLK_OUT) fill_pattern(r->data, next, count);
      else memset(r->data, 0xcc, count * SECTOR_BYTES);
      blk_submit(&disk, r, type, next, count * SECTOR_BYTES);
      next += count;
      in_flight++;
    }
    virtqueue_kick(&disk.queue);
    check(in_flight > 0, "the queue of %u entries is too small for %u segments", disk.queue.size, disk.segments);
    struct blk_request *done = blk_complete(&disk);
    in_flight--;
    check(done->status == BLK_OK, "request of type %u at sector %lu: status %u", type, done->header.sector,
          done->status);
    if (type == BLK_IN && verify) verify_pattern(done->data, done->header.sector, done->data_bytes / SECTOR_BYTES);
    if (type == BLK_IN && !verify) sum += sum_words(done->data, done->data_bytes / SECTOR_BYTES);
  }
  return sum;
}

static void test_write(void) {
  run_range(BLK_OUT, false);
  run_range(BLK_IN, true);
  print("blk write: %lu sectors from %lu written and read back\n", sectors, start);
}

static void test_flush(void) {
  if ((disk.device.features & BLK_FEATURE_FLUSH) == 0) {
    print("blk flush: not offered\n");
    return;
  }
  u8 status = blk_run(&disk, BLK_FLUSH, 0, 0);
  check(status == BLK_OK, "flush: status %u", status);
  print("blk flush: done\n");
}

static void test_id(void) {
  u8 status = blk_run(&disk, BLK_GET_ID, 0, BLK_ID_BYTES);
  check(status == BLK_OK, "get-id: status %u", status);
  char text[BLK_ID_BYTES + 1] = {0};
  memcpy(text, disk.requests[0].data, BLK_ID_BYTES);
  print("blk id: \"%s\"\n", text);
}

static u8 clear_range(u32 type, u64 sector, u64 count, u32 flags) {
  *(struct blk_range *)disk.requests[0].data = (struct blk_range){sector, (u32)count, flags};
  return blk_run(&disk, type, 0, sizeof(struct blk_range));
}

static void verify_zeroes(u64 sector, u64 end) {
  for (; sector < end; sector++) {
    check(blk_run(&disk, BLK_IN, sector, SECTOR_BYTES) == BLK_OK, "cannot read sector %lu", sector);
    const u64 *words = (const u64 *)disk.requests[0].data;
    for (u32 i = 0; i < SECTOR_BYTES / sizeof *words; i++) check(words[i] == 0, "sector %lu is not zero", sector);
  }
}

/* The first third of the range is discarded, the second zeroed and given back, the last zeroed. */
static void test_clear(void) {
  u64 third = sectors / 3, second = start + third, last = second + third, end = start + sectors;
  check(clear_range(BLK_DISCARD, start, third, 0) == BLK_OK, "discard failed");
  check(clear_range(BLK_WRITE_ZEROES, second, third, BLK_UNMAP) == BLK_OK, "write-zeroes with unmap failed");
  check(clear_range(BLK_WRITE_ZEROES, last, end - last, 0) == BLK_OK, "write-zeroes failed");
  verify_zeroes(start, end);
  check(clear_range(BLK_DISCARD, disk.sectors, 1, 0) == BLK_IOERR, "a discard at the end is not refused");
  check(clear_range(BLK_WRITE_ZEROES, ~0ul, 2, 0) == BLK_IOERR, "a sector that wraps is not refused");
  check(clear_range(BLK_DISCARD, start, 1, BLK_UNMAP) == BLK_UNSUPP, "a discard with a flag is supported");
  check(clear_range(BLK_WRITE_ZEROES, start, 1, 2) == BLK_UNSUPP, "an unknown flag is supported");
  print("blk clear: %lu sectors from %lu are zero\n", sectors, start);
}

static void expect_error(const char *what, u32 type, u64 sector, u32 bytes) {
  u8 status = blk_run(&disk, type, sector, bytes);
  check(status == BLK_IOERR, "%s: status %u instead of an I/O error", what, status);
}

static void test_range(void) {
  expect_error("read at the end", BLK_IN, disk.sectors, SECTOR_BYTES);
  expect_error("read across the end", BLK_IN, disk.sectors - 1, 2 * SECTOR_BYTES);
  expect_error("read at the last sector number", BLK_IN, ~0ul, SECTOR_BYTES);
  expect_error("read at a sector whose byte offset wraps", BLK_IN, 1ul << 55, SECTOR_BYTES);
  expect_error("write at the end", BLK_OUT, disk.sectors, SECTOR_BYTES);
  expect_error("write at a sector whose byte offset wraps", BLK_OUT, 1ul << 55, SECTOR_BYTES);
  check(blk_run(&disk, BLK_IN, disk.sectors - 1, SECTOR_BYTES) == BLK_OK, "the last sector cannot be read");
  print("blk range: 6 requests refused\n");
}

static void test_odd(void) {
  u8 status = blk_run(&disk, UNKNOWN_TYPE, 0, SECTOR_BYTES);
  check(status == BLK_UNSUPP, "unknown request type: status %u", status);
  expect_error("read of part of a sector", BLK_IN, 0, SECTOR_BYTES + 100);
  print("blk odd: 2 requests refused\n");
}

static void test_read_only(void) {
  check(disk.read_only, "the disk does not offer RO");
  check(blk_run(&disk, BLK_IN, start, SECTOR_BYTES) == BLK_OK, "cannot read sector %lu", start);
  u32 before = sum_words(disk.requests[0].data, 1);
  memset(disk.requests[0].data, 0xaa, SECTOR_BYTES);
  expect_error("write to a read-only disk", BLK_OUT, start, SECTOR_BYTES);
  check(blk_run(&disk, BLK_IN, start, SECTOR_BYTES) == BLK_OK, "cannot read sector %lu again", start);
  check(sum_words(disk.requests[0].data, 1) == before, "the refused write changed sector %lu", start);
  print("blk read-only: write refused, content unchanged\n");
}

static void open_disk(void) {
  u64 wanted =
      (option_given("indirect") ? FEATURE_INDIRECT : 0) | (option_given("event-index") ? FEATURE_EVENT_INDEX : 0);
  if (!option_lists("decline", "ro", false)) wanted |= BLK_FEATURE_RO;
  if (!option_lists("decline", "flush", false)) wanted |= BLK_FEATURE_FLUSH;
  if (option_lists("tests", "clear", false)) wanted |= BLK_FEATURE_DISCARD | BLK_FEATURE_WRITE_ZEROES;
  blk_open(&disk, (u32)option_number("device", 0), wanted, virtio_mode_option(), (u16)option_number("queue-size", 128),
           (u32)option_number("depth", 4), (u32)option_number("segments", 1), chunk * SECTOR_BYTES + 2 * SECTOR_BYTES);
}

/* After a reset memory is the driver's again, whatever was in flight (§2.4.1); the device then works as before. */
static void test_reset(void) {
  u32 resets = (u32)option_number("resets", 10);
  for (u32 round = 0; round < resets; round++) {
    for (u32 i = 0; i < disk.depth; i++) {
      memset(disk.requests[i].data, OURS_AGAIN, disk.buffer_bytes);
      blk_submit(&disk, &disk.requests[i], BLK_IN, start, chunk * SECTOR_BYTES);
    }
    virtqueue_kick(&disk.queue);
    virtio_reset(&disk.device);
    u16 used = disk.queue.used->index;
    for (u32 i = 0; i < disk.depth; i++) {
      memset(disk.requests[i].data, OURS_AGAIN, disk.buffer_bytes);
      disk.requests[i].status = OURS_AGAIN;
    }
    delay_microseconds(RESET_WATCH_US);
    check(disk.queue.used->index == used, "the device uses buffers after its reset");
    for (u32 i = 0; i < disk.depth; i++) {
      check(disk.requests[i].status == OURS_AGAIN, "a status was written after the reset");
      const u64 *words = (const u64 *)disk.requests[i].data;
      for (u32 at = 0; at < disk.buffer_bytes / sizeof *words; at++)
        check(words[at] == OURS_AGAIN * 0x0101010101010101ul, "word %u of request %u was written after the reset", at, i);
    }
    u64 mark = heap_mark();
    open_disk();
    run_range(BLK_IN, true);
    if (round + 1 < resets) heap_release(mark);
  }
  print("blk reset: %u times with %u requests in flight\n", resets, disk.depth);
}

void guest_main(void) {
  chunk = (u32)option_number("chunk", 8);
  seed = (u32)option_number("seed", 1);
  open_disk();
  start = option_number("start", 0);
  sectors = option_number("sectors", 64);
  print("blk: %lu sectors, offered 0x%lx, negotiated 0x%lx, queue %u, read-only %u\n", disk.sectors,
        disk.device.offered, disk.device.features, disk.queue.size, disk.read_only);
  if (chunk == 0 || start >= disk.sectors || sectors > disk.sectors - start)
    usage("sectors %lu+%lu are not on the disk", start, sectors);

  if (option_lists("tests", "verify", false)) {
    run_range(BLK_IN, true);
    print("blk verify: %lu sectors from %lu\n", sectors, start);
  }
  if (option_lists("tests", "checksum", false)) print("blk checksum: 0x%08x\n", run_range(BLK_IN, false));
  if (option_lists("tests", "write", !disk.read_only)) test_write();
  if (option_lists("tests", "clear", false)) test_clear();
  if (option_lists("tests", "flush", true)) test_flush();
  if (option_lists("tests", "id", true)) test_id();
  if (option_lists("tests", "range", true)) test_range();
  if (option_lists("tests", "odd", true)) test_odd();
  if (option_lists("tests", "read-only", disk.read_only)) test_read_only();
  if (option_lists("tests", "reset", false)) test_reset();

  virtio_settle(&disk.device, disk.queue.interrupts);
  u32 interrupts = *disk.queue.interrupts;
  check(disk.device.mode == BY_POLLING ? interrupts == 0 : interrupts > 0, "%u interrupts", interrupts);
  if (disk.device.mode == BY_EDGE) print("blk edge: line %u, %u spurious\n", disk.device.line, disk.device.spurious);
  if (disk.device.mode == BY_INTX) print("blk intx: pin %u, %u spurious\n", disk.device.intx_pin, disk.device.spurious);
  print("blk ok: %u requests, %u doorbells, %u interrupts\n", disk.completed, disk.queue.notifications, interrupts);
}
