/* What a guest provides. */
#ifndef GUEST_START_H
#define GUEST_START_H

#include "types.h"

void guest_main(void);

#endif
