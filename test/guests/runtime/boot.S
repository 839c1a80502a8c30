/*
 * PVH entry of every guest but hello: from 32-bit protected mode without paging (Xen docs/misc/pvh.pandoc, "x86/HVM
 * direct boot ABI") to 64-bit long mode with the first 4 GiB mapped to themselves, then runtime_start().
 *
 * The page tables are data, not built at run time: where ring 0 is emulated, a loop of 2048 entries costs
 * milliseconds.
 */
.section .note.pvh, "a", @note
.balign 4
  .long 4, 8, 18 /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
  .asciz "Xen"
  .quad pvh_entry

#define CR0_PE_MP_NE_WP_PG 0x80010023
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10

.code32
.section .text.entry, "ax"
.globl pvh_entry
pvh_entry:
  cld
  mov %ebx, %ebp /* the start info, kept in a register that nothing below uses */
  mov $bss_start, %edi
  mov $bss_end, %ecx
  sub %edi, %ecx
  shr $2, %ecx
  xor %eax, %eax
  rep stosl

  lgdt boot_gdt_pointer
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
  ljmp $KERNEL_CODE, $long_mode

.code64
long_mode:
  mov $KERNEL_DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  mov $boot_stack_top, %rsp
  mov %ebp, %edi
  xor %ebp, %ebp
  call runtime_start
1: cli
  hlt
  jmp 1b

.section .data
.balign 16
.globl boot_gdt
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff /* 64-bit code */
  .quad 0x00cf93000000ffff /* data */
  .quad 0x00cf9b000000ffff /* 32-bit code, for the application processors' way up */
boot_gdt_end:
.globl boot_gdt_pointer
boot_gdt_pointer:
  .word boot_gdt_end - boot_gdt - 1
  .quad boot_gdt

/* Present, writable; the lowest level maps 2 MiB pages (Intel SDM vol. 3 §4.5). */
.balign 4096
.globl boot_pml4
boot_pml4:
  .quad boot_pdpt + 3
  .fill 511, 8, 0
boot_pdpt:
  .quad boot_pd + 3, boot_pd + 0x1003, boot_pd + 0x2003, boot_pd + 0x3003
  .fill 508, 8, 0
boot_pd:
  .set page, 0
  .rept 2048
  .quad page + 0x83
  .set page, page + 0x200000
  .endr

.section .bss
.balign 16
  .skip 16384
boot_stack_top:
