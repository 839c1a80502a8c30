/* Printing and checking every PCI function, and moving BARs. */
#ifndef GUEST_PCI_REPORT_H
#define GUEST_PCI_REPORT_H

#include "runtime/types.h"

/* Prints each function with its BARs and capabilities, compares both configuration mechanisms; answers how many. */
u32 pci_report(void);
/* Moves memory BARs of virtio devices and checks that they answer at the new place only, then moves them back. */
void pci_move_bars(void);

#endif
