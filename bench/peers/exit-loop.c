/*
 * The peer of bench/exit.ts: the smallest loop around KVM_RUN in C that runs the same guest. One thread, no locks, no
 * devices but a scratch register, one PCI configuration word and a serial port that prints.
 *
 *   exit-loop GUEST.elf 'command line'
 *
 * The console goes to stdout; at the end "cpu N" on stderr: microseconds of processor time of this process.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RAM = 64 << 20, START_INFO = 0x6000, COMMAND_LINE = 0x6100, MEMORY_MAP = 0x6800, GDT = 0x500 };
enum { SERIAL = 0x3f8, LSR = 5, SCRATCH = 7, CONFIG_DATA = 0xcfc, DEBUG_EXIT = 0xf4 };
static const uint32_t bridge = 0x00081b36;
static const uint64_t ecam = 0xe0000000;

struct start_info {
  uint32_t magic, version, flags, modules;
  uint64_t module_list, command_line, rsdp, memory_map;
  uint32_t memory_map_entries, reserved;
};
struct region {
  uint64_t start, size;
  uint32_t type, reserved;
};

static void need(int ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(1);
}

static uint64_t load(uint8_t *ram, const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  need(fd >= 0, path);
  struct stat info;
  need(fstat(fd, &info) == 0, path);
  uint8_t *file = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  need(file != MAP_FAILED, path);
  Elf64_Ehdr *header = (Elf64_Ehdr *)file;
  for (int i = 0; i < header->e_phnum; i++) {
    Elf64_Phdr *p = (Elf64_Phdr *)(file + header->e_phoff) + i;
    if (p->p_type == PT_LOAD) memcpy(ram + p->p_paddr, file + p->p_offset, p->p_filesz);
  }
  return header->e_entry;
}

static struct kvm_segment segment(int selector, int type) {
  struct kvm_segment s = {.limit = 0xffffffff, .selector = (uint16_t)selector, .type = (uint8_t)type, .present = 1};
  s.db = s.s = s.g = 1;
  return s;
}

static void start_in_protected_mode(int vcpu, uint64_t entry) {
  struct kvm_sregs sregs;
  need(ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0, "KVM_GET_SREGS");
  sregs.cs = segment(0x10, 11);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(0x18, 3);
  sregs.tr = segment(0x20, 11);
  sregs.tr.s = sregs.tr.g = 0;
  sregs.tr.limit = 0x67;
  sregs.gdt.base = GDT;
  sregs.gdt.limit = 47;
  sregs.cr0 = 0x11;
  need(ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0, "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = entry, .rbx = START_INFO, .rflags = 2};
  need(ioctl(vcpu, KVM_SET_REGS, &regs) == 0, "KVM_SET_REGS");
}

static void end(int code) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  fflush(stdout);
  fprintf(stderr, "cpu %ld\n",
          (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  exit(code);
}

static uint8_t scratch;

static void serve_port(struct kvm_run *run) {
  uint8_t *data = (uint8_t *)run + run->io.data_offset;
  int out = run->io.direction == KVM_EXIT_IO_OUT, port = run->io.port;
  for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
    if (!out) memset(data, 0xff, run->io.size);
    if (port == SERIAL + SCRATCH) {
      if (out) scratch = *data;
      else *data = scratch;
    } else if (port == CONFIG_DATA && !out && run->io.size == 4) memcpy(data, &bridge, 4);
    else if (port == SERIAL && out) putchar(*data);
    else if (port == SERIAL + LSR && !out) *data = 0x60;
    else if (port == DEBUG_EXIT && out) end(*data);
  }
}

static void serve_memory(struct kvm_run *run) {
  if (run->mmio.is_write) return;
  memset(run->mmio.data, 0xff, sizeof run->mmio.data);
  if (run->mmio.phys_addr == ecam) memcpy(run->mmio.data, &bridge, 4);
}

int main(int argc, char **argv) {
  need(argc == 3, "usage: exit-loop GUEST.elf 'command line'");
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  need(kvm >= 0, "/dev/kvm");
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  need(vm >= 0, "KVM_CREATE_VM");
  uint8_t *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  need(ram != MAP_FAILED, "mmap");
  struct kvm_userspace_memory_region slot = {.memory_size = RAM, .userspace_addr = (uintptr_t)ram};
  need(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) == 0, "KVM_SET_TSS_ADDR");
  need(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0, "KVM_SET_USER_MEMORY_REGION");
  need(ioctl(vm, KVM_CREATE_IRQCHIP, 0) == 0, "KVM_CREATE_IRQCHIP");
  struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
  need(ioctl(vm, KVM_CREATE_PIT2, &pit) == 0, "KVM_CREATE_PIT2");

  uint64_t entry = load(ram, argv[1]);
  need(strlen(argv[2]) < MEMORY_MAP - COMMAND_LINE, "command line");
  strcpy((char *)ram + COMMAND_LINE, argv[2]);
  struct region map = {.start = 0, .size = RAM, .type = 1};
  memcpy(ram + MEMORY_MAP, &map, sizeof map);
  struct start_info info = {.magic = 0x336ec578, .version = 1, .command_line = COMMAND_LINE};
  info.memory_map = MEMORY_MAP;
  info.memory_map_entries = 1;
  memcpy(ram + START_INFO, &info, sizeof info);

  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  need(vcpu >= 0, "KVM_CREATE_VCPU");
  struct {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entries[256];
  } cpuid = {.head.nent = 256};
  need(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) == 0, "KVM_GET_SUPPORTED_CPUID");
  need(ioctl(vcpu, KVM_SET_CPUID2, &cpuid) == 0, "KVM_SET_CPUID2");
  start_in_protected_mode(vcpu, entry);
  int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  need(run != MAP_FAILED, "mmap of the run page");
  for (;;) {
    need(ioctl(vcpu, KVM_RUN, 0) == 0, "KVM_RUN");
    if (run->exit_reason == KVM_EXIT_IO) serve_port(run);
    else if (run->exit_reason == KVM_EXIT_MMIO) serve_memory(run);
    else {
      fprintf(stderr, "exit reason %u\n", run->exit_reason);
      end(1);
    }
  }
}
