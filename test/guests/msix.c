/*
 * msix: masking, pending bits and re-targeting of MSI-X vectors (PCI Local Bus 3.0 §6.8.2), with a virtio-rng device
 * as the source. A message that comes due while its vector or the whole function is masked must wait in the pending
 * bit array and be sent once when unmasked, to where the table points then.
 *
 * Options: device=N.
 */
#include "runtime/apic.h"
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/interrupts.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/time.h"
#include "runtime/virtqueue.h"

enum { OTHER_VECTOR = 0x3a, BYTES = 16, ARRIVAL_MS = 2000, SILENCE_MS = 20, QUEUE_ENTRY = 1 };

static struct virtio_device device;
static struct virtqueue queue;
static u8 *buffer;
static volatile u32 other_count;

static void on_other(struct trap_frame *frame) {
  (void)frame;
  other_count++;
  lapic_eoi();
}

/* One request, seen through to the used ring by polling; interrupts stay off. */
static void request(void) {
  u16 head;
  u32 length;
  virtqueue_add(&queue, &(struct buffer){buffer, BYTES, true}, 1);
  virtqueue_kick(&queue);
  u64 deadline = deadline_in(ARRIVAL_MS);
  while (!virtqueue_take(&queue, &head, &length)) check(!expired(deadline), "the device does not answer");
}

static void await_interrupts(const char *when, volatile u32 *counter, u32 wanted) {
  u64 deadline = deadline_in(ARRIVAL_MS);
  enable_interrupts();
  while (*counter < wanted) check(!expired(deadline), "%s: %u interrupts instead of %u", when, *counter, wanted);
  delay_microseconds(SILENCE_MS * 1000);
  disable_interrupts();
  check(*counter == wanted, "%s: %u interrupts instead of %u", when, *counter, wanted);
  print("msix %s: as expected\n", when);
}

static void await_pending(const char *when, bool wanted) {
  u64 deadline = deadline_in(ARRIVAL_MS);
  while (msix_is_pending(&device.msix, QUEUE_ENTRY) != wanted)
    check(!expired(deadline), "%s: the pending bit stays %u", when, !wanted);
}

void guest_main(void) {
  if (!virtio_find(&device, VIRTIO_RNG, (u32)option_number("device", 0))) usage("no virtio-rng device");
  virtio_begin(&device, 0, BY_MSIX);
  virtqueue_open(&queue, &device, 0, 16);
  virtio_driver_ok(&device);
  buffer = allocate(BYTES, 16);
  on_vector(OTHER_VECTOR, on_other);
  volatile u32 *count = queue.interrupts;

  request();
  await_interrupts("unmasked", count, 1);

  msix_mask(&device.msix, QUEUE_ENTRY, true);
  request();
  await_pending("masked vector", true);
  await_interrupts("masked vector, silent", count, 1);
  msix_mask(&device.msix, QUEUE_ENTRY, false);
  await_interrupts("unmasked vector", count, 2);
  await_pending("unmasked vector", false);

  msix_enable(&device.msix, true, true);
  request();
  request();
  await_pending("masked function", true);
  await_interrupts("masked function, silent", count, 2);
  msix_enable(&device.msix, true, false);
  await_interrupts("unmasked function, two requests in one", count, 3);
  await_pending("unmasked function", false);

  msix_mask(&device.msix, QUEUE_ENTRY, true);
  request();
  await_pending("re-targeted", true);
  msix_program(&device.msix, QUEUE_ENTRY, OTHER_VECTOR); /* masks, writes, unmasks */
  await_interrupts("re-targeted, new vector", &other_count, 1);
  request();
  await_interrupts("re-targeted, next request", &other_count, 2);
  await_interrupts("re-targeted, old vector silent", count, 3);

  virtio_select_queue(&device, 0);
  mmio_write16(device.common + COMMON_QUEUE_VECTOR, NO_VECTOR);
  request();
  await_interrupts("no vector, silent", &other_count, 2);
  mmio_write16(device.common + COMMON_QUEUE_VECTOR, QUEUE_ENTRY);
  request();
  await_interrupts("vector again", &other_count, 3);
  print("msix ok\n");
}
