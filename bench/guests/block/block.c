/*
 * block: how fast a virtio disk is. Found and set up as in the guest virtio-blk, it is then driven from ring 3, which
 * runs at full speed also where ring 0 is emulated: the used rings are polled, no interrupt is asked for, a doorbell is
 * a store to its address. One CPU serves all queues in turn, and rings a doorbell after it has refilled what was
 * finished.
 *
 * Options: size=N (bytes; 4096); pattern=random | sequential; mix=read | write | readwrite (70 % reads), or
 * rwmix=PERCENT of reads; depth=N in flight on each queue (32); queues=N (1); ms=N to measure (1000), or requests=N
 * instead; warm-up=MS before it, not counted (200); blocks=N of the disk to use (all); device=N; seed=N of the pattern
 * that the disk holds, to check what was read; no-event-index, no-indirect: features not to negotiate, both being
 * Linux's choice otherwise.
 */
#include "content.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"
#include "runtime/user.h"

enum { CONFIG_QUEUES = 34, MAX_DEPTH = 256, PATIENCE_SECONDS = 10, PAGE_BYTES = 4096 };

static struct virtio_device disk;
static struct workload work = {.bytes = 4096, .random = true, .read_percent = 100};
static struct lane lanes[VIRTIO_MAX_QUEUES];
static u32 lane_count;
static u64 ticks_per_ms;
static struct histogram latencies;

static void keep_in_flight(struct lane *lane, u64 *submitted, u64 limit, u64 end) {
  u32 slot;
  bool added = false;
  while (lane_complete(lane, &work, &slot)) {
    u64 now = rdtsc();
    histogram_add(&latencies, now - lane->slots[slot].started);
    if (now >= end || *submitted >= limit) continue;
    lane_submit_next(lane, &work, slot, now);
    (*submitted)++;
    added = true;
  }
  if (added) virtqueue_kick(&lane->queue);
  else cpu_relax();
}

/* Runs the workload until `end` or `limit` requests have been submitted, and waits for the rest of them. */
static u64 drive(u64 limit, u64 ms) {
  u64 start = rdtsc(), end = start + ms * ticks_per_ms, submitted = 0, in_flight = 1, seen = 0;
  u64 patience = PATIENCE_SECONDS * 1000 * ticks_per_ms, deadline = start + patience;
  memset(&latencies, 0, sizeof latencies);
  for (u32 l = 0; l < lane_count; l++) {
    for (u32 i = 0; i < work.depth && submitted < limit; i++, submitted++)
      lane_submit_next(&lanes[l], &work, i, rdtsc());
    virtqueue_kick(&lanes[l].queue);
  }
  while (in_flight > 0) {
    in_flight = 0;
    for (u32 l = 0; l < lane_count; l++) {
      keep_in_flight(&lanes[l], &submitted, limit, end);
      in_flight += lanes[l].in_flight;
    }
    if (latencies.count != seen) {
      seen = latencies.count;
      deadline = rdtsc() + patience;
    }
    check(!expired(deadline), "nothing used for %u s, %lu requests in flight", PATIENCE_SECONDS, in_flight);
  }
  return rdtsc() - start;
}

static u64 nanoseconds(u64 ticks) { return ticks * 1000000 / ticks_per_ms; }

static u32 doorbells(void) {
  u32 count = 0;
  for (u32 l = 0; l < lane_count; l++) count += lanes[l].queue.notifications;
  return count;
}

static void report(u64 ticks, u32 rung, u32 checked) {
  u64 us = nanoseconds(ticks) / 1000, count = latencies.count;
  print("block ok: requests %lu us %lu iops %lu bytes/s %lu p50 %lu p90 %lu p99 %lu p99.9 %lu max %lu ns doorbells %u "
        "checked %u tsc %lu kHz\n",
        count, us, count * 1000000 / us, count * work.bytes * 1000000 / us,
        nanoseconds(histogram_percentile(&latencies, 500)), nanoseconds(histogram_percentile(&latencies, 900)),
        nanoseconds(histogram_percentile(&latencies, 990)), nanoseconds(histogram_percentile(&latencies, 999)),
        nanoseconds(latencies.most), rung, checked, ticks_per_ms);
}

static void measure(void) {
  u64 requests = option_number("requests", 0), ms = option_number("ms", 1000), warm_up = option_number("warm-up", 200);
  user_begin();
  for (u32 l = 0; l < lane_count; l++) lane_allocate(&lanes[l], &work);
  if (warm_up > 0) drive(~0ul, warm_up);
  user_end();
  print("block: measuring\n");
  u32 before = doorbells();
  user_begin();
  u64 ticks = requests > 0 ? drive(requests, 3600000) : drive(~0ul, ms);
  user_end();
  print("block: measured\n");
  u32 rung = doorbells() - before;
  user_begin();
  u32 checked = content_check(&lanes[0], &work);
  user_end();
  report(ticks, rung, checked);
}

static void read_options(void) {
  work.bytes = (u32)option_number("size", 4096);
  if (work.bytes == 0 || work.bytes % SECTOR_BYTES != 0) usage("size is a multiple of %u", SECTOR_BYTES);
  work.random = !option_is("pattern", "sequential");
  if (work.random && option_given("pattern") && !option_is("pattern", "random"))
    usage("pattern is random or sequential");
  if (option_is("mix", "write")) work.read_percent = 0;
  else if (option_is("mix", "readwrite")) work.read_percent = 70;
  else if (option_given("mix") && !option_is("mix", "read")) usage("mix is read, write or readwrite");
  work.read_percent = (u32)option_number("rwmix", work.read_percent);
  work.depth = (u32)option_number("depth", 32);
  if (work.depth < 1 || work.depth > MAX_DEPTH) usage("depth is 1 to %u", MAX_DEPTH);
  lane_count = (u32)option_number("queues", 1);
  if (lane_count < 1 || lane_count > VIRTIO_MAX_QUEUES) usage("queues is 1 to %u", VIRTIO_MAX_QUEUES);
  work.seed = (u32)option_number("seed", 0);
}

static void open_disk(void) {
  u64 wanted = BLK_FEATURE_BLK_SIZE | BLK_FEATURE_FLUSH | (lane_count > 1 ? BLK_FEATURE_MULTI_QUEUE : 0) |
               (option_given("no-event-index") ? 0 : FEATURE_EVENT_INDEX) |
               (option_given("no-indirect") ? 0 : FEATURE_INDIRECT);
  u32 index = (u32)option_number("device", 0);
  if (!virtio_find(&disk, VIRTIO_BLK, index)) usage("no virtio-blk device number %u", index);
  virtio_begin(&disk, wanted, BY_POLLING);
  u32 queues = disk.features & BLK_FEATURE_MULTI_QUEUE ? mmio_read16(disk.config + CONFIG_QUEUES) : 1;
  if (queues < lane_count) usage("the disk has %u queues", queues);
  u64 blocks = blk_capacity(&disk) / (work.bytes / SECTOR_BYTES);
  work.blocks = option_number("blocks", blocks);
  if (work.blocks == 0 || work.blocks > blocks || work.blocks > 0xffffffff)
    usage("%lu blocks of %lu", work.blocks, blocks);
  work.event_index = disk.features & FEATURE_EVENT_INDEX;
  for (u32 l = 0; l < lane_count; l++) lane_open(&lanes[l], &disk, &work, l, lane_count);
  virtio_driver_ok(&disk);
}

void guest_main(void) {
  read_options();
  ticks_per_ms = tsc_per_millisecond();
  open_disk();
  print("block: %lu blocks of %u bytes, %s, %u %% reads, depth %u, queues %u of %u, features 0x%lx\n", work.blocks,
        work.bytes, work.random ? "random" : "sequential", work.read_percent, work.depth, lane_count,
        lanes[0].queue.size, disk.features);
  for (u32 l = 0; l < lane_count; l++) user_allow(lanes[l].queue.notify_address & ~(PAGE_BYTES - 1ul), PAGE_BYTES);
  measure();
}
