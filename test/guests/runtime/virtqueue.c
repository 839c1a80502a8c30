/* Split virtqueue: virtio 1.2 §2.7; notification suppression §2.7.7 and §2.7.10; set-up §4.1.5.1.3 and §4.2.3.2. */
#include "virtqueue.h"
#include "cpu.h"
#include "exit.h"
#include "memory.h"
#include "time.h"
#include "virtio-interrupts.h"
#include "watchdog.h"

enum { INTERRUPT_PATIENCE_MS = 2000, LAST = 0xffff };

static void enable(struct virtqueue *q) {
  struct virtio_device *d = q->device;
  check(virtio_read(d, VIRTIO_QUEUE_ENABLE) == 0, "queue %u is in use", q->index);
  virtio_write(d, VIRTIO_QUEUE_SIZE, q->size);
  check(d->registers != 0 || virtio_read(d, VIRTIO_QUEUE_SIZE) == q->size, "queue %u does not take the size %u",
        q->index, q->size);
  virtio_write_address(d, VIRTIO_QUEUE_DESCRIPTORS, (u64)q->descriptors);
  virtio_write_address(d, VIRTIO_QUEUE_DRIVER, (u64)q->available);
  virtio_write_address(d, VIRTIO_QUEUE_DEVICE, (u64)q->used);
  q->interrupts = &d->interrupts[virtio_queue_vector(d, q->index)];
  q->notify_address = virtio_notify_address(d);
  check(d->registers != 0 || q->notify_address + 2 <= d->notify + d->notify_bytes,
        "queue %u: doorbell outside the notification structure", q->index);
  virtio_write(d, VIRTIO_QUEUE_ENABLE, 1);
  check(virtio_read(d, VIRTIO_QUEUE_ENABLE) == 1, "queue %u does not enable", q->index);
}

void virtqueue_open(struct virtqueue *q, struct virtio_device *d, u16 index, u16 wanted_size) {
  *q = (struct virtqueue){.device = d, .index = index};
  virtio_select_queue(d, index);
  u32 maximum = virtio_read(d, VIRTIO_QUEUE_SIZE_MAX);
  check(maximum != 0, "the device has no queue %u", index);
  check((maximum & (maximum - 1)) == 0, "queue %u: maximum size %u is no power of 2", index, maximum);
  q->size = maximum < wanted_size ? (u16)maximum : wanted_size;
  if (q->size > QUEUE_MAX_SIZE) q->size = QUEUE_MAX_SIZE;
  q->descriptors = allocate(DESCRIPTOR_BYTES * q->size, 16);
  q->available = allocate(6 + 2u * q->size, 2);
  q->used = allocate(6 + 8u * q->size, 4);
  if (d->features & FEATURE_INDIRECT) q->indirect = allocate((size_t)q->size * MAX_INDIRECT * DESCRIPTOR_BYTES, 16);
  for (u16 i = 0; i < q->size; i++) q->descriptors[i].next = i + 1 == q->size ? LAST : i + 1;
  q->free_count = q->size;
  if (d->mode == BY_POLLING) q->available->flags = AVAILABLE_NO_INTERRUPT;
  enable(q);
}

bool virtqueue_has_room(const struct virtqueue *q, u32 buffers) {
  return q->free_count >= (q->indirect != NULL ? 1 : buffers);
}

static u16 take_free(struct virtqueue *q) {
  u16 head = q->free_head;
  q->free_head = q->descriptors[head].next;
  q->free_count--;
  return head;
}

static void fill(struct descriptor *d, const struct buffer *b, bool more, u16 next) {
  *d = (struct descriptor){(u64)b->address, b->length,
                           (u16)((b->device_writes ? DESCRIPTOR_WRITE : 0) | (more ? DESCRIPTOR_NEXT : 0)), next};
}

u16 virtqueue_add(struct virtqueue *q, const struct buffer *buffers, u32 count) {
  check(count > 0 && virtqueue_has_room(q, count), "queue %u has no room for %u buffers", q->index, count);
  u16 head = take_free(q);
  if (q->indirect != NULL) {
    check(count <= MAX_INDIRECT, "%u buffers in one chain", count);
    struct descriptor *table = q->indirect + (size_t)head * MAX_INDIRECT;
    for (u32 i = 0; i < count; i++) fill(&table[i], &buffers[i], i + 1 < count, (u16)(i + 1));
    q->descriptors[head] = (struct descriptor){(u64)table, count * DESCRIPTOR_BYTES, DESCRIPTOR_INDIRECT, 0};
    q->chain_length[head] = 1;
  } else {
    u16 at = head;
    for (u32 i = 0; i < count; i++) {
      u16 next = i + 1 < count ? take_free(q) : 0;
      fill(&q->descriptors[at], &buffers[i], i + 1 < count, next);
      at = next;
    }
    q->chain_length[head] = (u16)count;
  }
  q->available->ring[q->published % q->size] = head;
  compiler_barrier(); /* the entry before the index; x86 keeps stores in order */
  q->available->index = ++q->published;
  return head;
}

void virtqueue_kick(struct virtqueue *q) {
  u16 old = q->notified, new = q->published;
  q->notified = new;
  full_barrier(); /* our index before reading whether the device wants to hear of it (§2.7.13.4.1) */
  if (q->device->features & FEATURE_EVENT_INDEX) {
    u16 event = *(volatile u16 *)&q->used->ring[q->size];
    if ((u16)(new - event - 1) >= (u16)(new - old)) return;
  } else if (q->used->flags & USED_NO_NOTIFY) {
    return;
  }
  q->notifications++;
  virtio_ring(q->device, q->notify_address, q->index);
}

bool virtqueue_take(struct virtqueue *q, u16 *head, u32 *length) {
  u16 index = q->used->index;
  if (index == q->next_used) return false;
  check((u16)(index - q->next_used) <= q->size, "queue %u: used index went from %u to %u", q->index, q->next_used,
        index);
  compiler_barrier();
  volatile struct used_element *element = &q->used->ring[q->next_used % q->size];
  check(element->head < q->size && q->chain_length[element->head] != 0, "queue %u: head %u is not in flight", q->index,
        element->head);
  *head = (u16)element->head;
  *length = element->length;
  q->next_used++;
  u16 last = *head;
  for (u16 i = 1; i < q->chain_length[*head]; i++) last = q->descriptors[last].next;
  q->descriptors[last].next = q->free_head;
  q->free_head = *head;
  q->free_count = (u16)(q->free_count + q->chain_length[*head]);
  q->chain_length[*head] = 0;
  return true;
}

/* Asks for an interrupt at the next used entry; the caller looks once more afterwards (§2.7.7.1, §2.7.10.1). */
static void arm(struct virtqueue *q) {
  if (q->device->features & FEATURE_EVENT_INDEX) q->available->ring[q->size] = q->next_used;
  full_barrier();
}

/* The used ring moved while we slept, so an interrupt was due; it may trail the ring a little, but it must come. */
static void expect_interrupt(struct virtqueue *q, u32 before) {
  u64 deadline = deadline_in(INTERRUPT_PATIENCE_MS);
  while (*q->interrupts == before) {
    check(!expired(deadline), "queue %u: a used buffer without its interrupt", q->index);
    enable_interrupts();
    for (int i = 0; i < 100; i++) cpu_relax();
    disable_interrupts();
  }
}

void virtqueue_await(struct virtqueue *q, u16 *head, u32 *length) {
  struct virtio_device *d = q->device;
  u64 patience = patience_ms(), deadline = deadline_in(patience);
  if (d->mode != BY_POLLING) watchdog_start();
  while (!virtqueue_take(q, head, length)) {
    check((virtio_status(d) & STATUS_NEEDS_RESET) == 0, "queue %u: the device needs a reset", q->index);
    check(!expired(deadline), "queue %u: nothing used for %lu ms, %u interrupts", q->index, patience,
          *q->interrupts);
    if (d->mode == BY_POLLING) {
      for (int i = 0; i < 200 && q->used->index == q->next_used; i++) cpu_relax();
      continue;
    }
    u32 before = *q->interrupts;
    arm(q);
    bool slept = false;
    for (; q->used->index == q->next_used && !expired(deadline); slept = true) wait_for_interrupt();
    if (slept && q->used->index != q->next_used) expect_interrupt(q, before);
  }
}
