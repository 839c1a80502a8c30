/* Single instructions with C names: port and MMIO access, CPUID, MSRs, the interrupt flag, the time stamp counter. */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H

#include "types.h"

static inline u8 in8(u16 port) {
  u8 v;
  __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
  return v;
}
static inline u16 in16(u16 port) {
  u16 v;
  __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
  return v;
}
static inline u32 in32(u16 port) {
  u32 v;
  __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
  return v;
}
static inline void out8(u16 port, u8 v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory"); }
static inline void out16(u16 port, u16 v) { __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory"); }
static inline void out32(u16 port, u32 v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory"); }

/* MMIO goes through plain moves: every emulator of instructions knows those. */
static inline u8 mmio_read8(u64 a) {
  u8 v;
  __asm__ volatile("movb (%1), %0" : "=a"(v) : "r"(a) : "memory");
  return v;
}
static inline u16 mmio_read16(u64 a) {
  u16 v;
  __asm__ volatile("movw (%1), %0" : "=a"(v) : "r"(a) : "memory");
  return v;
}
static inline u32 mmio_read32(u64 a) {
  u32 v;
  __asm__ volatile("movl (%1), %0" : "=a"(v) : "r"(a) : "memory");
  return v;
}
static inline void mmio_write8(u64 a, u8 v) { __asm__ volatile("movb %0, (%1)" ::"a"(v), "r"(a) : "memory"); }
static inline void mmio_write16(u64 a, u16 v) { __asm__ volatile("movw %0, (%1)" ::"a"(v), "r"(a) : "memory"); }
static inline void mmio_write32(u64 a, u32 v) { __asm__ volatile("movl %0, (%1)" ::"a"(v), "r"(a) : "memory"); }

struct cpuid {
  u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf, u32 subleaf) {
  struct cpuid r;
  __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
  return r;
}

static inline u64 rdmsr(u32 msr) {
  u32 low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
  return (u64)high << 32 | low;
}
static inline void wrmsr(u32 msr, u64 v) {
  __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static inline u64 rdtsc(void) {
  u32 low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return (u64)high << 32 | low;
}

static inline void disable_interrupts(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void enable_interrupts(void) { __asm__ volatile("sti" ::: "memory"); }
/* sti takes effect after the next instruction, so an interrupt between the caller's check and hlt is not lost. */
static inline void wait_for_interrupt(void) { __asm__ volatile("sti\n\thlt\n\tcli" ::: "memory"); }
static inline void cpu_relax(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void halt(void) { __asm__ volatile("hlt" ::: "memory"); }

#endif
