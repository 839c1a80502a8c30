/* The paravirtual clock (Linux Documentation/virt/kvm/x86/msr.rst). */
#ifndef GUEST_KVMCLOCK_H
#define GUEST_KVMCLOCK_H

#include "types.h"

enum {
  MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00,
  MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01,
  KVM_CLOCK_ENABLE = 1,
};

struct clock_page {
  volatile u32 version, padding;
  volatile u64 tsc_timestamp, system_time;
  volatile u32 tsc_to_system_mul;
  volatile int8_t tsc_shift;
  volatile u8 flags, reserved[2];
};

/* The machine's hypervisor is KVM; and it offers this clock. */
bool kvm_is_there(void);
bool kvmclock_is_offered(void);
/* Of a page that is registered and enabled. */
u64 kvmclock_nanoseconds(const struct clock_page *page);
/* The host has stopped the machine since this was last asked: watchdogs are to begin anew. */
bool kvmclock_was_stopped(struct clock_page *page);

#endif
