/* The IDT and who handles which vector. Interrupts start disabled. */
#ifndef GUEST_INTERRUPTS_H
#define GUEST_INTERRUPTS_H

#include "types.h"

struct trap_frame {
  u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
  u64 vector, error, rip, cs, rflags, rsp, ss;
};
typedef void (*interrupt_handler)(struct trap_frame *frame);

enum { FIRST_EXTERNAL_VECTOR = 0x20, SPURIOUS_VECTOR = 0xff };

void interrupts_init(void);
/* Loads the same IDT on an application processor. */
void interrupts_load(void);
/* An exception nobody handles ends the machine with EXIT_TRAP; an interrupt nobody handles is counted. */
void on_vector(u8 vector, interrupt_handler handler);
u32 unexpected_interrupts(void);
/* What becomes of an exception that nobody handles. */
__attribute__((noreturn)) void trap_unexpected(const struct trap_frame *frame);

#endif
