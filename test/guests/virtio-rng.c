/*
 * virtio-rng: fills buffers with entropy (virtio 1.2 §5.4) and checks that they look random: no buffer is all one
 * byte, no two are alike, and over all of them ones and zeros are near balance.
 *
 * Options: by=msix | intx | poll; indirect; event-index; device=N; requests=N (default 16); bytes=N a request
 * (default 64); depth=N in flight (default 4); doorbells=N rings so often with nothing to say.
 */
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/virtqueue.h"

enum { MAX_DEPTH = 32, MAX_REQUESTS = 1024, MAX_BYTES = 0x100000 };

static struct virtio_device device;
static struct virtqueue queue;
static u8 *buffers[MAX_DEPTH];
static int in_buffer[QUEUE_MAX_SIZE]; /* head -> buffer */
static u64 first_words[MAX_REQUESTS];
static u32 finished, received, ones;

/* By words: where ring 0 is emulated, bits one by one take seconds. */
static u32 ones_in(u64 word) {
  word -= word >> 1 & 0x5555555555555555ul;
  word = (word & 0x3333333333333333ul) + (word >> 2 & 0x3333333333333333ul);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0ful;
  return (u32)(word * 0x0101010101010101ul >> 56);
}

static void examine(const u8 *data, u32 length) {
  check(length > 0, "a request came back empty");
  received += length;
  const u64 *words = (const u64 *)data, pattern = data[0] * 0x0101010101010101ul;
  bool varies = false;
  for (u32 i = 0; i < length / 8; i++) {
    varies |= words[i] != pattern;
    ones += ones_in(words[i]);
  }
  u64 rest = 0;
  memcpy(&rest, data + length / 8 * 8, length % 8);
  ones += ones_in(rest);
  check(varies || length < 8, "%u bytes, all 0x%02x", length, data[0]);
  if (length < sizeof(u64)) return;
  u64 word;
  memcpy(&word, data, sizeof word);
  for (u32 i = 0; i < finished; i++) check(first_words[i] != word, "two buffers begin with 0x%lx", word);
  first_words[finished] = word;
}

void guest_main(void) {
  u32 requests = (u32)option_number("requests", 16), bytes = (u32)option_number("bytes", 64),
      depth = (u32)option_number("depth", 4);
  if (requests < 1 || requests > MAX_REQUESTS || depth < 1 || depth > MAX_DEPTH || bytes < 1 || bytes > MAX_BYTES)
    usage("requests is 1 to %u, depth 1 to %u, bytes 1 to %u", MAX_REQUESTS, MAX_DEPTH, MAX_BYTES);
  if (!virtio_find(&device, VIRTIO_RNG, (u32)option_number("device", 0))) usage("no virtio-rng device");
  u64 wanted =
      (option_given("indirect") ? FEATURE_INDIRECT : 0) | (option_given("event-index") ? FEATURE_EVENT_INDEX : 0);
  virtio_begin(&device, wanted, virtio_mode_option());
  virtqueue_open(&queue, &device, 0, 64);
  virtio_driver_ok(&device);
  if (depth > queue.size) depth = queue.size;
  print("rng: negotiated 0x%lx, queue %u\n", device.features, queue.size);

  u32 submitted = 0;
  for (u32 i = 0; i < depth; i++) buffers[i] = allocate(bytes, 16);
  for (u32 i = 0; i < depth && submitted < requests; i++, submitted++)
    in_buffer[virtqueue_add(&queue, &(struct buffer){buffers[i], bytes, true}, 1)] = (int)i;
  virtqueue_kick(&queue);
  while (finished < requests) {
    u16 head;
    u32 length;
    virtqueue_await(&queue, &head, &length);
    int index = in_buffer[head];
    check(length <= bytes, "used length %u of %u", length, bytes);
    examine(buffers[index], length);
    if (finished == 0) {
      print("rng first:");
      for (u32 i = 0; i < length && i < 16; i++) print(" %02x", buffers[index][i]);
      print("\n");
    }
    finished++;
    if (submitted == requests) continue;
    memset(buffers[index], 0, bytes);
    in_buffer[virtqueue_add(&queue, &(struct buffer){buffers[index], bytes, true}, 1)] = index;
    submitted++;
    virtqueue_kick(&queue);
  }
  u32 doorbells = (u32)option_number("doorbells", 0);
  for (u32 i = 0; i < doorbells; i++) virtio_ring(&device, queue.notify_address, queue.index);
  /* With n bits the spread is sqrt(n)/2; a tenth of n is far outside it from 512 bits up. */
  u64 bits = (u64)received * 8;
  check(bits < 512 || (ones > bits * 4 / 10 && ones < bits * 6 / 10), "%u ones in %lu bits", ones, bits);
  virtio_settle(&device, queue.interrupts);
  u32 interrupts = *queue.interrupts;
  check(device.mode == BY_POLLING ? interrupts == 0 : interrupts > 0, "%u interrupts", interrupts);
  print("rng ok: %u requests, %u bytes, %u interrupts\n", finished, received, interrupts);
}
