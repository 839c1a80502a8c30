/*
 * awake: sees that it has been somewhere else, says so and ends: time has gone on by more than any host keeps a guest waiting. It
 * looks at the time stamp counter without pause.
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/print.h"
#include "runtime/start.h"
#include "runtime/time.h"

enum { LEAST_MS = 500 };

void guest_main(void) {
  u64 least = LEAST_MS * tsc_per_millisecond();
  print("awake: waiting\n");
  for (u64 last = rdtsc(), now; (now = rdtsc()) - last < least; last = now) {}
  print("awake: again\n");
  exit_machine(0);
}
