/* The paravirtual clock: finding it, reading it. */
#include "kvmclock.h"
#include "cpu.h"
#include "exit.h"
#include "memory.h"

/* Linux Documentation/virt/kvm/x86/cpuid.rst. */
enum { CPUID_KVM_SIGNATURE = 0x40000000, CPUID_KVM_FEATURES = 0x40000001, KVM_FEATURE_CLOCKSOURCE2 = 1 << 3 };
enum { PVCLOCK_GUEST_STOPPED = 1 << 1 };
enum { MAX_RETRIES = 1000 };

bool kvm_is_there(void) {
  struct cpuid signature = cpuid(CPUID_KVM_SIGNATURE, 0);
  return signature.ebx == 0x4b4d564b && signature.ecx == 0x564b4d56 && signature.edx == 0x4d; /* KVMKVMKVM */
}

bool kvmclock_is_offered(void) {
  return kvm_is_there() && (cpuid(CPUID_KVM_FEATURES, 0).eax & KVM_FEATURE_CLOCKSOURCE2) != 0;
}

u64 kvmclock_nanoseconds(const struct clock_page *page) {
  for (int retry = 0; retry < MAX_RETRIES; retry++) {
    u32 version = page->version;
    compiler_barrier();
    u64 delta = rdtsc() - page->tsc_timestamp;
    delta = page->tsc_shift >= 0 ? delta << page->tsc_shift : delta >> -page->tsc_shift;
    u64 time = page->system_time + (u64)((unsigned __int128)delta * page->tsc_to_system_mul >> 32);
    compiler_barrier();
    if ((version & 1) == 0 && version == page->version) return time;
  }
  fail("kvmclock: the page changes all the time");
}

bool kvmclock_was_stopped(struct clock_page *page) {
  if ((page->flags & PVCLOCK_GUEST_STOPPED) == 0) return false;
  page->flags &= (u8)~PVCLOCK_GUEST_STOPPED;
  return true;
}
