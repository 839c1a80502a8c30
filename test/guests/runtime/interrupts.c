/* IDT (Intel SDM vol. 3 §6.14) and dispatch. */
#include "interrupts.h"
#include "cpu.h"
#include "exit.h"
#include "machine.h"
#include "print.h"

enum { GATE_PRESENT_INTERRUPT = 0x8e, KERNEL_CODE = 0x08, STUB_BYTES = 16, VECTORS = 256 };

struct gate {
  u16 offset_low, selector;
  u8 stack, type;
  u16 offset_middle;
  u32 offset_high, reserved;
};

extern u8 trap_stubs[];
void trap_dispatch(struct trap_frame *frame);

static struct gate idt[VECTORS] __attribute__((aligned(16)));
static interrupt_handler handlers[VECTORS];
static u32 unexpected;

void interrupts_load(void) {
  struct __attribute__((packed)) {
    u16 limit;
    u64 base;
  } pointer = {sizeof idt - 1, (u64)idt};
  __asm__ volatile("lidt %0" ::"m"(pointer));
}

void interrupts_init(void) {
  for (int v = 0; v < VECTORS; v++) {
    u64 stub = (u64)trap_stubs + (u64)v * STUB_BYTES;
    idt[v] = (struct gate){(u16)stub, KERNEL_CODE, 0, GATE_PRESENT_INTERRUPT, (u16)(stub >> 16), (u32)(stub >> 32), 0};
  }
  interrupts_load();
}

void on_vector(u8 vector, interrupt_handler handler) { handlers[vector] = handler; }

u32 unexpected_interrupts(void) { return unexpected; }

void trap_unexpected(const struct trap_frame *frame) {
  u64 cr2;
  __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
  print("\nTRAP: vector %lu error 0x%lx rip 0x%lx rsp 0x%lx cr2 0x%lx\n", frame->vector, frame->error, frame->rip,
        frame->rsp, cr2);
  exit_machine(EXIT_TRAP);
}

void trap_dispatch(struct trap_frame *frame) {
  interrupt_handler handler = handlers[frame->vector];
  if (handler != NULL) return handler(frame);
  if (frame->vector < FIRST_EXTERNAL_VECTOR) trap_unexpected(frame);
  unexpected++;
}
