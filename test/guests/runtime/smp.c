/* Starting application processors by INIT and startup IPIs. */
#include "smp.h"
#include "apic.h"
#include "exit.h"
#include "memory.h"
#include "time.h"

extern u8 ap_trampoline[], ap_trampoline_end[];
void smp_entry(u32 slot);

u8 *smp_stacks;
volatile u32 smp_next_slot;
static u32 slots;
static void (*entry_function)(u32 slot);
static volatile u32 arrived;

enum { TRAMPOLINE_PAGE = AP_TRAMPOLINE >> 12, AFTER_INIT_US = 10000, AFTER_STARTUP_US = 200 };

void smp_entry(u32 slot) {
  if (slot >= slots)
    for (;;) __asm__ volatile("cli\n\thlt"); /* more CPUs than stacks: its stack pointer is not ours */
  __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
  entry_function(slot);
}

void smp_prepare(u32 count, void (*entry)(u32 slot)) {
  memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
  /* One stack more than CPUs, for the guard in smp_entry(). */
  smp_stacks = allocate((size_t)(count + 1) << AP_STACK_SHIFT, 16);
  slots = count;
  entry_function = entry;
  compiler_barrier();
}

static void start(u32 apic_id, u32 shorthand) {
  u32 before = arrived;
  lapic_send(apic_id, ICR_INIT | ICR_LEVEL_ASSERT | shorthand);
  delay_microseconds(AFTER_INIT_US);
  for (int attempt = 0; attempt < 2; attempt++) {
    lapic_send(apic_id, ICR_STARTUP | ICR_LEVEL_ASSERT | shorthand | TRAMPOLINE_PAGE);
    delay_microseconds(AFTER_STARTUP_US);
    if (shorthand == 0 && arrived != before) return;
  }
}

void smp_start(u32 apic_id) { start(apic_id, 0); }
void smp_start_all(void) { start(0, ICR_ALL_BUT_SELF); }
u32 smp_started(void) { return arrived; }
