/*
 * What a program in a guest sees of the CPU: a few leaves of CPUID, and which instructions run. One `name: value` a line;
 * an instruction's value is `runs`, or the signal that ends who tries it.
 */
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void popcnt(void) { __asm__ volatile("popcnt %%eax, %%eax" ::: "eax"); }
static void xgetbv(void) { __asm__ volatile("xgetbv" ::"c"(0) : "eax", "edx"); }
static void avx(void) { __asm__ volatile("vxorps %%ymm0, %%ymm0, %%ymm0" ::: "xmm0"); }
static void avx2(void) { __asm__ volatile("vpaddd %%ymm0, %%ymm0, %%ymm0" ::: "xmm0"); }
static void fused(void) { __asm__ volatile("vfmadd231ps %%ymm0, %%ymm0, %%ymm0" ::: "xmm0"); }
static void fsgsbase(void) { __asm__ volatile("rdfsbase %%rax" ::: "rax"); }

static const struct {
  const char *name;
  void (*run)(void);
} instructions[] = {{"popcnt", popcnt}, {"xgetbv", xgetbv}, {"avx", avx}, {"avx2", avx2}, {"fma", fused}, {"fsgsbase", fsgsbase}};

static const unsigned leaves[] = {1, 7, 0xd, 0x80000001};

int main(void) {
  for (unsigned i = 0; i < sizeof leaves / sizeof *leaves; i++) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count(leaves[i], 0, &a, &b, &c, &d);
    printf("%x: %u %u %u %u\n", leaves[i], a, b, c, d);
  }
  fflush(stdout);
  for (unsigned i = 0; i < sizeof instructions / sizeof *instructions; i++) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
      instructions[i].run();
      _exit(0);
    }
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
      printf("%s: signal %d\n", instructions[i].name, WTERMSIG(status));
    else
      printf("%s: runs\n", instructions[i].name);
    fflush(stdout);
  }
}
