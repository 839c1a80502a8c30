/*
 * Attacks on descriptor chains of a queue that was set up by the rules: addresses and lengths outside RAM, loops,
 * heads and indices out of range, one head twice, indirect tables of every wrong shape (virtio 1.2 §2.7.5).
 */
#include "attacks.h"
#include "runtime/machine.h"
#include "runtime/memory.h"
#include "runtime/start-info.h"

#define BEYOND_RAM 0x0000e00000000000ul
#define W DESCRIPTOR_WRITE
#define N DESCRIPTOR_NEXT
#define I DESCRIPTOR_INDIRECT
enum { TABLE_ENTRIES = 64 };

static void submit(struct victim *v, u16 head) {
  offer_head(v, head);
  ring_doorbell(v);
}

/* An honest chain, but for the address and the length of its data buffer. */
static void with_data(struct victim *v, u64 address, u32 length) {
  victim_ready(v);
  u16 data = put_valid_chain(v);
  v->queue.descriptors[data].address = address;
  v->queue.descriptors[data].length = length;
  submit(v, 0);
}

static u64 ram_end_below_4g(void) {
  u64 end = 0;
  for (u32 i = 0; i < memory_region_count(); i++) {
    const struct memory_region *r = memory_region(i);
    if (r->type == MEMORY_RAM && r->start < FOUR_GIB && r->start + r->size > end) end = r->start + r->size;
  }
  return end;
}

static void data_beyond_ram(struct victim *v) { with_data(v, BEYOND_RAM, 512); }
static void data_wraps(struct victim *v) { with_data(v, 0xfffffffffffffff0ul, 512); }
static void data_at_2_53(struct victim *v) { with_data(v, 0x001ffffffffffffful, 512); }
static void data_in_the_hole(struct victim *v) { with_data(v, DEVICE_HOLE_START + 0x8000000, 512); }
static void data_in_the_lapic(struct victim *v) { with_data(v, LAPIC_BASE, 512); }
static void data_is_own_doorbell(struct victim *v) {
  virtio_select_queue(&v->device, v->queue_index);
  with_data(v, virtio_notify_address(&v->device), 512);
}
static void data_is_own_registers(struct victim *v) {
  with_data(v, virtio_register_address(&v->device, VIRTIO_DEVICE_FEATURE_SELECT), 512);
}
static void data_across_the_end(struct victim *v) { with_data(v, ram_end_below_4g() - 256, 512); }
static void data_huge(struct victim *v) { with_data(v, (u64)v->data, 0xffffffff); }
static void data_2_gib(struct victim *v) { with_data(v, (u64)v->data, 0x80000000); }
static void data_empty(struct victim *v) { with_data(v, (u64)v->data, 0); }
static void data_at_zero_empty(struct victim *v) { with_data(v, 0, 0); }

static void all_empty(struct victim *v) {
  victim_ready(v);
  for (u16 i = 0; i < v->queue.size; i++)
    put_descriptor(v, i, (u64)v->data, 0, i + 1 < v->queue.size ? W | N : W, i + 1);
  submit(v, 0);
}
static void loop_of_one(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 16, N, 0);
  submit(v, 0);
}
static void loop_of_two(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 16, N, 1);
  put_descriptor(v, 1, (u64)v->data, 16, N, 0);
  submit(v, 0);
}
static void loop_behind_honest_start(struct victim *v) {
  victim_ready(v);
  u16 data = put_valid_chain(v);
  v->queue.descriptors[data].flags |= N;
  v->queue.descriptors[data].next = 5;
  put_descriptor(v, 5, (u64)v->data, 16, W | N, 6);
  put_descriptor(v, 6, (u64)v->data, 16, W | N, 5);
  submit(v, 0);
}
static void empty_loop(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, 0, 0, W | N, 0);
  submit(v, 0);
}
static void next_out_of_range(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 16, N, v->queue.size);
  submit(v, 0);
}
static void next_all_ones(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 16, W | N, 0xffff);
  submit(v, 0);
}
static void head_out_of_range(struct victim *v) {
  victim_ready(v);
  submit(v, v->queue.size);
}
static void head_all_ones(struct victim *v) {
  victim_ready(v);
  submit(v, 0xffff);
}
static void index_jumps(struct victim *v) {
  victim_ready(v);
  put_valid_chain(v);
  v->queue.available->index = v->queue.size + 1;
  ring_doorbell(v);
}
static void index_jumps_far(struct victim *v) {
  victim_ready(v);
  put_valid_chain(v);
  v->queue.available->index = 0x8000;
  ring_doorbell(v);
}
static void index_goes_back(struct victim *v) {
  victim_ready(v);
  put_valid_chain(v);
  submit(v, 0);
  victim_outcome(v, 5);
  v->queue.available->index = 0;
  ring_doorbell(v);
}
static void same_head_twice(struct victim *v) {
  victim_ready(v);
  put_valid_chain(v);
  offer_head(v, 0);
  offer_head(v, 0);
  ring_doorbell(v);
}
static void same_head_in_every_entry(struct victim *v) {
  victim_ready(v);
  put_valid_chain(v);
  for (u16 i = 0; i < v->queue.size; i++) offer_head(v, 0);
  ring_doorbell(v);
}
static void wrong_direction(struct victim *v) {
  victim_ready(v);
  u16 data = put_valid_chain(v);
  v->queue.descriptors[data].flags ^= W;
  submit(v, 0);
}
static void writable_before_readable(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 64, W | N, 1);
  put_descriptor(v, 1, (u64)v->header, 16, N, 2);
  put_descriptor(v, 2, (u64)v->data + 64, 1, W, 0);
  submit(v, 0);
}
static void only_one_byte(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 1, 0, 0);
  submit(v, 0);
}
static void only_one_writable_byte(struct victim *v) {
  victim_ready(v);
  put_descriptor(v, 0, (u64)v->data, 1, W, 0);
  submit(v, 0);
}
static void reserved_flags(struct victim *v) {
  victim_ready(v);
  u16 data = put_valid_chain(v);
  v->queue.descriptors[data].flags |= 0xfff8;
  submit(v, 0);
}

/* Indirect tables. `entries` of them hold one-byte buffers, linked in order. */
static struct descriptor *make_table(struct victim *v, u16 entries) {
  struct descriptor *table = allocate(TABLE_ENTRIES * sizeof *table, 16);
  for (u16 i = 0; i < entries; i++)
    table[i] = (struct descriptor){(u64)v->data + i, 1, i + 1 < entries ? W | N : W, i + 1};
  return table;
}
static void indirect(struct victim *v, u64 address, u32 length, u16 flags) {
  put_descriptor(v, 0, address, length, flags, 1);
  put_descriptor(v, 1, (u64)v->data, 1, W, 0);
  submit(v, 0);
}
static void indirect_not_negotiated(struct victim *v) { victim_ready(v), indirect(v, (u64)make_table(v, 2), 32, I); }
static void indirect_beyond_ram(struct victim *v) { victim_ready(v), indirect(v, BEYOND_RAM, 32, I); }
static void indirect_wraps(struct victim *v) { victim_ready(v), indirect(v, 0xfffffffffffffff0ul, 32, I); }
static void indirect_in_the_hole(struct victim *v) {
  victim_ready(v), indirect(v, DEVICE_HOLE_START + 0x8000000, 32, I);
}
static void indirect_empty(struct victim *v) { victim_ready(v), indirect(v, (u64)make_table(v, 2), 0, I); }
static void indirect_uneven(struct victim *v) { victim_ready(v), indirect(v, (u64)make_table(v, 2), 33, I); }
static void indirect_half_entry(struct victim *v) { victim_ready(v), indirect(v, (u64)make_table(v, 2), 8, I); }
static void indirect_huge(struct victim *v) { victim_ready(v), indirect(v, (u64)make_table(v, 2), 0xfffffff0, I); }
static void indirect_longer_than_queue(struct victim *v) {
  victim_ready(v), indirect(v, (u64)make_table(v, TABLE_ENTRIES), TABLE_ENTRIES * 16, I);
}
static void indirect_with_next(struct victim *v) { victim_ready(v), indirect(v, (u64)make_table(v, 2), 32, I | N); }
static void indirect_across_the_end(struct victim *v) {
  victim_ready(v);
  struct descriptor *last = (struct descriptor *)(ram_end_below_4g() - sizeof *last);
  *last = (struct descriptor){(u64)v->data, 1, W | N, 1}; /* its successor is no longer RAM */
  indirect(v, (u64)last, 4 * sizeof *last, I);
}
static void indirect_nested(struct victim *v) {
  victim_ready(v);
  struct descriptor *inner = make_table(v, 2), *outer = make_table(v, 1);
  outer[0] = (struct descriptor){(u64)inner, 32, I, 0};
  indirect(v, (u64)outer, 16, I);
}
static void indirect_to_itself(struct victim *v) {
  victim_ready(v);
  struct descriptor *table = make_table(v, 1);
  table[0] = (struct descriptor){(u64)table, 16, I, 0};
  indirect(v, (u64)table, 16, I);
}
static void indirect_loop(struct victim *v) {
  victim_ready(v);
  struct descriptor *table = make_table(v, 4);
  table[3] = (struct descriptor){(u64)v->data, 1, W | N, 0};
  indirect(v, (u64)table, 64, I);
}
static void indirect_next_out_of_table(struct victim *v) {
  victim_ready(v);
  struct descriptor *table = make_table(v, 4);
  table[1].next = 40;
  indirect(v, (u64)table, 64, I);
}

/* clang-format off */
#define ATTACK(function) {#function, 0, function}
#define INDIRECT(function) {#function, FEATURE_INDIRECT, function}
/* clang-format on */
const struct attack chain_attacks[] = {
    ATTACK(data_beyond_ram),
    ATTACK(data_wraps),
    ATTACK(data_at_2_53),
    ATTACK(data_in_the_hole),
    ATTACK(data_in_the_lapic),
    ATTACK(data_is_own_doorbell),
    ATTACK(data_is_own_registers),
    ATTACK(data_across_the_end),
    ATTACK(data_huge),
    ATTACK(data_2_gib),
    ATTACK(data_empty),
    ATTACK(data_at_zero_empty),
    ATTACK(all_empty),
    ATTACK(loop_of_one),
    ATTACK(loop_of_two),
    ATTACK(loop_behind_honest_start),
    ATTACK(empty_loop),
    ATTACK(next_out_of_range),
    ATTACK(next_all_ones),
    ATTACK(head_out_of_range),
    ATTACK(head_all_ones),
    ATTACK(index_jumps),
    ATTACK(index_jumps_far),
    ATTACK(index_goes_back),
    ATTACK(same_head_twice),
    ATTACK(same_head_in_every_entry),
    ATTACK(wrong_direction),
    ATTACK(writable_before_readable),
    ATTACK(only_one_byte),
    ATTACK(only_one_writable_byte),
    ATTACK(reserved_flags),
    ATTACK(indirect_not_negotiated),
    INDIRECT(indirect_beyond_ram),
    INDIRECT(indirect_wraps),
    INDIRECT(indirect_in_the_hole),
    INDIRECT(indirect_empty),
    INDIRECT(indirect_uneven),
    INDIRECT(indirect_half_entry),
    INDIRECT(indirect_huge),
    INDIRECT(indirect_longer_than_queue),
    INDIRECT(indirect_with_next),
    INDIRECT(indirect_across_the_end),
    INDIRECT(indirect_nested),
    INDIRECT(indirect_to_itself),
    INDIRECT(indirect_loop),
    INDIRECT(indirect_next_out_of_table),
};
const u32 chain_attack_count = ARRAY_LENGTH(chain_attacks);
