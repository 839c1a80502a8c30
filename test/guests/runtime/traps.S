/*
 * One stub for each of the 256 vectors and the way into trap_dispatch(struct trap_frame *). Stubs are 16 bytes apart,
 * so that interrupts.c can compute their addresses.
 */
.code64
.section .text.traps, "ax"

.balign 16
.globl trap_stubs
trap_stubs:
  .set vector, 0
  .rept 256
  .balign 16
  /* Vectors that push an error code themselves: 8, 10-14, 17, 21 (Intel SDM vol. 3 §6.15). */
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
  push $0
  .endif
  push $vector
  jmp trap_common
  .set vector, vector + 1
  .endr

trap_common:
  push %r15
  push %r14
  push %r13
  push %r12
  push %r11
  push %r10
  push %r9
  push %r8
  push %rbp
  push %rdi
  push %rsi
  push %rdx
  push %rcx
  push %rbx
  push %rax
  cld
  mov %rsp, %rdi
  call trap_dispatch
  pop %rax
  pop %rbx
  pop %rcx
  pop %rdx
  pop %rsi
  pop %rdi
  pop %rbp
  pop %r8
  pop %r9
  pop %r10
  pop %r11
  pop %r12
  pop %r13
  pop %r14
  pop %r15
  add $16, %rsp
  iretq
