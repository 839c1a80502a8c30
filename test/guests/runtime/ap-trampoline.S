/*
 * Where an application processor starts: real mode at the page that the startup IPI names (Intel SDM vol. 3 §8.4.4).
 * It is copied to AP_TRAMPOLINE and takes the CPU to long mode on the tables and descriptors of boot.S, then to
 * smp_entry(slot) on a stack of its own. Slots are handed out by an atomic increment, so CPUs may start all at once.
 */
#include "smp.h"

#define CR0_PE 0x1
#define CR0_PE_MP_NE_WP_PG 0x80010023
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define KERNEL_CODE_32 0x18
#define AT(symbol) (AP_TRAMPOLINE + symbol - ap_trampoline)

.section .text.ap_trampoline, "ax"
.globl ap_trampoline, ap_trampoline_end
.code16
ap_trampoline:
  cli
  cld
  mov %cs, %ax
  mov %ax, %ds
  lgdtl gdt_pointer - ap_trampoline
  mov %cr0, %eax
  or $CR0_PE, %eax
  mov %eax, %cr0
  ljmpl $KERNEL_CODE_32, $AT(protected_mode)

.code32
protected_mode:
  mov $KERNEL_DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $CR4_PAE, %eax
  mov %eax, %cr4
  mov $boot_pml4, %eax
  mov %eax, %cr3
  mov $MSR_EFER, %ecx
  rdmsr
  or $EFER_LME, %eax
  wrmsr
  mov $CR0_PE_MP_NE_WP_PG, %eax
  mov %eax, %cr0
  ljmp $KERNEL_CODE, $ap_long_mode

.balign 8
gdt_pointer:
  .word 0x1f
  .long boot_gdt
ap_trampoline_end:

/* From here on at its linked address. */
.section .text.ap_long_mode, "ax"
.code64
ap_long_mode:
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  mov $1, %edi
  lock xaddl %edi, smp_next_slot
  mov %rdi, %rax
  inc %rax
  shl $AP_STACK_SHIFT, %rax
  add smp_stacks, %rax
  mov %rax, %rsp
  call smp_entry
1: cli
  hlt
  jmp 1b
