/*
 * The way into ring 3 and back: user segments and a task state segment, whose stack exceptions use (Intel SDM vol. 3
 * §3.4.5, §7.7), the user bit in page tables (§4.6); an iretq there, an invalid
 * instruction back: software interrupts do not arrive on every host. Selectors of ring 0 stay what boot.S made them.
 */
#include "user.h"
#include "exit.h"
#include "interrupts.h"
#include "memory.h"

enum { BOOT_DESCRIPTORS = 4, KERNEL_CODE = 0x08, KERNEL_DATA = 0x10 };
enum { USER_DATA = BOOT_DESCRIPTORS, USER_CODE, TASK, TASK_HIGH, DESCRIPTORS };
enum { RING_3 = 3, PAGE_PRESENT = 1, PAGE_USER = 4, STACK_BYTES = 16384, TASK_AVAILABLE = 0x89, INVALID_OPCODE = 6 };
#define USER_CODE_64 0x00affb000000fffful
#define USER_DATA_FLAT 0x00cff3000000fffful
#define RFLAGS_RESERVED 2
#define LARGE_PAGE 0x200000ul
#define ADDRESS_MASK 0x000ffffffffff000ul

extern u64 boot_gdt[BOOT_DESCRIPTORS], boot_pml4[512];

struct __attribute__((packed)) task_state {
  u32 reserved;
  u64 stack[3], reserved_1, interrupt_stack[7], reserved_2;
  u16 reserved_3, port_map;
};

static u64 gdt[DESCRIPTORS];
static struct task_state task __attribute__((aligned(16)));

static u64 *allow_entry(u64 *table, u64 index, u64 page) {
  check(table[index] & PAGE_PRESENT, "0x%lx is not mapped", page);
  table[index] |= PAGE_USER;
  return (u64 *)(table[index] & ADDRESS_MASK);
}

void user_allow(u64 start, u64 size) {
  for (u64 page = start & ~(LARGE_PAGE - 1); page < start + size; page += LARGE_PAGE) {
    u64 *pdpt = allow_entry(boot_pml4, page >> 39 & 511, page);
    u64 *pd = allow_entry(pdpt, page >> 30 & 511, page);
    allow_entry(pd, page >> 21 & 511, page);
    __asm__ volatile("invlpg (%0)" ::"r"(page) : "memory");
  }
}

extern u8 user_end_instruction[], user_end_after[];

static void on_invalid_opcode(struct trap_frame *frame) {
  if (frame->rip != (u64)user_end_instruction) trap_unexpected(frame);
  frame->rip = (u64)user_end_after;
  frame->cs = KERNEL_CODE;
  frame->ss = KERNEL_DATA;
}

static void prepare(void) {
  static bool prepared;
  if (prepared) return;
  prepared = true;
  task.stack[0] = (u64)allocate(STACK_BYTES, 16) + STACK_BYTES;
  task.port_map = sizeof task; /* none */
  memcpy(gdt, boot_gdt, sizeof boot_gdt);
  u64 base = (u64)&task;
  gdt[USER_DATA] = USER_DATA_FLAT;
  gdt[USER_CODE] = USER_CODE_64;
  gdt[TASK] = (sizeof task - 1) | (base & 0xffffff) << 16 | (u64)TASK_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
  gdt[TASK_HIGH] = base >> 32;
  struct __attribute__((packed)) {
    u16 limit;
    u64 base;
  } pointer = {sizeof gdt - 1, (u64)gdt};
  __asm__ volatile("lgdt %0\n\tltr %w1" ::"m"(pointer), "r"(TASK * 8) : "memory");
  on_vector(INVALID_OPCODE, on_invalid_opcode);
  user_allow(0, heap_end());
}

void user_begin(void) {
  prepare();
  __asm__ volatile("mov %%rsp, %%rax\n\t"
                   "push %0\n\tpush %%rax\n\tpush %1\n\tpush %2\n\tpush $1f\n\tiretq\n"
                   "1:" ::"r"((u64)USER_DATA * 8 | RING_3),
                   "i"(RFLAGS_RESERVED), "r"((u64)USER_CODE * 8 | RING_3)
                   : "rax", "memory", "cc");
}

void user_end(void) {
  __asm__ volatile("mov %%cs, %%eax\n\t"
                   "test $3, %%al\n\t"
                   "jz user_end_after\n"
                   "user_end_instruction: ud2\n"
                   "user_end_after:" ::
                       : "rax", "memory", "cc");
}
