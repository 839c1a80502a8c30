/* The only program of a live system: says what its root is and how its kernel was told to find it, and powers off. */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void) {
  char line[4096];
  mount("proc", "/proc", "proc", 0, NULL);
  FILE *mounts = fopen("/proc/mounts", "r");
  while (mounts != NULL && fgets(line, sizeof line, mounts) != NULL)
    if (strstr(line, " / iso9660 ") != NULL) printf("LIVE-ROOT %s", line);
  FILE *words = fopen("/proc/cmdline", "r");
  if (words != NULL && fgets(line, sizeof line, words) != NULL) printf("LIVE-WORDS %s", line);
  fflush(stdout);
  reboot(RB_POWER_OFF);
  return 1;
}
