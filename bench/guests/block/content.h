/* What is on the disk, and whether it comes back. */
#ifndef BLOCK_CONTENT_H
#define BLOCK_CONTENT_H

#include "lane.h"

/* A buffer to write: the same for all blocks but for its first word, which tells whose it is. */
void content_fill(const struct workload *w, u8 *data);
static inline void content_stamp(u8 *data, u64 block) { *(u64 *)data = ~block; }
/* A block that is being written; the last ones are looked at in the end. */
void content_remember(u64 block);
/* Reads some blocks and checks them whole: what was written, or the pattern of the disk. Answers how many. */
u32 content_check(struct lane *lane, const struct workload *w);

#endif
