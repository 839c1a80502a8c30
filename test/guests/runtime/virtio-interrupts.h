/* Interrupts of virtio devices: one MSI-X vector for each queue and one for configuration changes, or INTx. */
#ifndef GUEST_VIRTIO_INTERRUPTS_H
#define GUEST_VIRTIO_INTERRUPTS_H

#include "virtio.h"

void virtio_interrupts_begin(struct virtio_device *device, enum interrupt_mode mode);
/* Assigns the selected queue its vector, which the device must accept; answers which of the device's `interrupts`
   counts it: queues share one when the device has few vectors, and always by INTx. */
u32 virtio_queue_vector(struct virtio_device *device, u16 queue);

#endif
