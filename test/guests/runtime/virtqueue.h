/* The driver's side of a split virtqueue (virtio 1.2 §2.7). */
#ifndef GUEST_VIRTQUEUE_H
#define GUEST_VIRTQUEUE_H

#include "virtio.h"

struct descriptor {
  u64 address;
  u32 length;
  u16 flags, next;
};
enum { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2, DESCRIPTOR_INDIRECT = 4, DESCRIPTOR_BYTES = 16 };

struct available {
  u16 flags, index, ring[];
}; /* then used_event */
struct used_element {
  u32 head, length;
};
struct used {
  u16 flags, index;
  struct used_element ring[];
}; /* then avail_event */
enum { AVAILABLE_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

enum { QUEUE_MAX_SIZE = 256, MAX_INDIRECT = 64 };

struct virtqueue {
  struct virtio_device *device;
  u16 index, size;
  struct descriptor *descriptors;
  volatile struct available *available;
  volatile struct used *used;
  struct descriptor *indirect; /* MAX_INDIRECT for each head when indirect descriptors were negotiated */
  u64 notify_address;
  volatile u32 *interrupts; /* how many have come for this queue (and those it shares a vector with) */
  u16 free_head, free_count, next_used, published, notified;
  u16 chain_length[QUEUE_MAX_SIZE]; /* of the chain that begins at a head in flight; 0 = not in flight */
  u32 notifications;                /* doorbells rung, after suppression */
};

struct buffer {
  void *address;
  u32 length;
  bool device_writes;
};

/* Sets up and enables queue `index` with min(the device's maximum, wanted_size) entries; call before DRIVER_OK. */
void virtqueue_open(struct virtqueue *queue, struct virtio_device *device, u16 index, u16 wanted_size);
/* Publishes one chain and answers its head; the device is told by virtqueue_kick(). */
u16 virtqueue_add(struct virtqueue *queue, const struct buffer *buffers, u32 count);
bool virtqueue_has_room(const struct virtqueue *queue, u32 buffers);
void virtqueue_kick(struct virtqueue *queue);
/* Takes one finished chain; false when there is none. The used ring's claims are checked. */
bool virtqueue_take(struct virtqueue *queue, u16 *head, u32 *length);
/* The same, after waiting for it in the device's interrupt mode; a device that stays silent ends the guest. */
void virtqueue_await(struct virtqueue *queue, u16 *head, u32 *length);

#endif
