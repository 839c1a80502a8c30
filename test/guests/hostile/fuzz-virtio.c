/* Registers and live rings of virtio devices, over either transport. */
#include "fuzz.h"
#include "runtime/cpu.h"

enum {
  SLOT_BYTES = 0x4000, /* of the arena, for one queue */
  DESCRIPTORS_AT = 0,
  AVAILABLE_AT = 0x1000,
  USED_AT = 0x2000,
  TABLE_AT = 0x3000,
  ALL_STEPS = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK
};

static u32 below(struct fuzzer *f, u32 limit) { return random_under(&f->random, limit); }

static const struct victim *any_victim(struct fuzzer *f) {
  return &fuzz_machine.victims[below(f, fuzz_machine.victim_count)];
}

static u64 slot(const struct victim *v, u32 queue) {
  return fuzz_machine.arena + ((u64)(v - fuzz_machine.victims) * FUZZ_QUEUES + queue) * SLOT_BYTES;
}

/* Mostly one that exists. */
static u32 any_queue(struct fuzzer *f) {
  return below(f, 8) != 0 ? below(f, FUZZ_QUEUES) : (u32)random_edge(&f->random);
}

/* Where PCI puts the doorbell of `queue`, without asking the device. */
static void ring(struct fuzzer *f, const struct victim *v, u32 queue) {
  const struct virtio_device *d = &v->device;
  if (d->registers != 0) {
    mmio_write32(d->registers + MMIO_QUEUE_NOTIFY, queue);
  } else {
    u64 at = d->notify + ((u64)queue * d->notify_multiplier) % (d->notify_bytes - 3);
    if (below(f, 4) == 0) mmio_write32(at, (u32)random_next(&f->random));
    else mmio_write16(at, (u16)queue);
  }
}

static void write_register(struct fuzzer *f, const struct virtio_device *d, enum virtio_register reg) {
  if (virtio_register_address(d, reg) == 0) return;
  if (reg >= VIRTIO_QUEUE_DESCRIPTORS && reg <= VIRTIO_QUEUE_DEVICE)
    virtio_write_address(d, reg, fuzz_address(f, below(f, 4) == 0 ? 1 : 16));
  else if (reg == VIRTIO_QUEUE_SELECT) virtio_write(d, reg, any_queue(f));
  else virtio_write(d, reg, (u32)random_edge(&f->random));
}

void fuzz_virtio(struct fuzzer *f) {
  const struct victim *v = any_victim(f);
  f->register_accesses++;
  switch (below(f, 8)) {
    case 0: virtio_set_status(&v->device, (u8)random_next(&f->random)); break;
    case 1: virtio_set_status(&v->device, (u8)(1u << below(f, 8)) | virtio_status(&v->device)); break;
    case 2: virtio_set_status(&v->device, 0); break;
    case 3: {
      enum virtio_register reg = below(f, VIRTIO_REGISTERS);
      if (virtio_register_address(&v->device, reg) != 0) virtio_read(&v->device, reg);
      break;
    }
    case 4: ring(f, v, any_queue(f)); break;
    default: write_register(f, &v->device, below(f, VIRTIO_REGISTERS));
  }
}

void fuzz_start(struct fuzzer *f) {
  const struct victim *v = any_victim(f);
  const struct virtio_device *d = &v->device;
  f->starts++;
  virtio_set_status(d, 0);
  virtio_set_status(d, STATUS_ACKNOWLEDGE);
  virtio_set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  u64 offered = virtio_offered_features(d), features = offered;
  if (below(f, 2) == 0) features &= random_next(&f->random) | FEATURE_VERSION_1;
  for (u32 word = 0; word < 2; word++) {
    virtio_write(d, VIRTIO_DRIVER_FEATURE_SELECT, word);
    virtio_write(d, VIRTIO_DRIVER_FEATURE, (u32)(features >> (32 * word)));
  }
  virtio_set_status(d, ALL_STEPS & ~STATUS_DRIVER_OK);
  for (u32 queue = 0; queue < FUZZ_QUEUES; queue++) {
    u64 at = slot(v, queue);
    bool odd = below(f, 8) == 0;
    /* Old indices would be a jump: the queue would be broken before it served anything. */
    ((volatile struct available *)(at + AVAILABLE_AT))->index = 0;
    virtio_write(d, VIRTIO_QUEUE_SELECT, queue);
    virtio_write(d, VIRTIO_QUEUE_SIZE, odd ? 1u << below(f, 17) : FUZZ_RING_SIZE);
    virtio_write_address(d, VIRTIO_QUEUE_DESCRIPTORS, odd ? fuzz_address(f, 16) : at + DESCRIPTORS_AT);
    virtio_write_address(d, VIRTIO_QUEUE_DRIVER, odd ? fuzz_address(f, 2) : at + AVAILABLE_AT);
    virtio_write_address(d, VIRTIO_QUEUE_DEVICE, odd ? fuzz_address(f, 4) : at + USED_AT);
    if (d->registers == 0) virtio_write(d, VIRTIO_QUEUE_VECTOR, below(f, 4));
    virtio_write(d, VIRTIO_QUEUE_ENABLE, 1);
  }
  virtio_set_status(d, ALL_STEPS);
}

static u32 any_length(struct fuzzer *f) {
  switch (below(f, 5)) {
    case 0: return (u32)random_edge(&f->random);
    case 1: return below(f, 64);
    case 2: return 16;
    case 3: return 512u * below(f, 16);
    default: return 1;
  }
}

/* Chains that end, chains that loop, and links to nowhere. */
static void write_descriptor(struct fuzzer *f, volatile struct descriptor *d, u32 at, u32 entries, u64 table) {
  bool indirect = table != 0 && below(f, 6) == 0;
  d->address = indirect ? table : fuzz_address(f, 1);
  d->length = indirect && below(f, 4) != 0 ? DESCRIPTOR_BYTES * (1 + below(f, FUZZ_TABLE_ENTRIES)) : any_length(f);
  d->next = (u16)(below(f, 8) == 0 ? random_edge(&f->random) : below(f, 8) == 0 ? below(f, entries) : at + 1);
  u16 flags = below(f, 32) == 0 ? (u16)random_next(&f->random) : (u16)below(f, 4);
  if (at + 1 >= entries && below(f, 8) != 0) flags &= (u16)~DESCRIPTOR_NEXT;
  d->flags = indirect ? flags | DESCRIPTOR_INDIRECT : flags & (u16)~DESCRIPTOR_INDIRECT;
}

/* Header and status of a disk request where the descriptors say, so that some get further than the first check. */
static void write_request(struct fuzzer *f, volatile struct descriptor *d, u64 at) {
  volatile u32 *header = (volatile u32 *)at;
  header[0] = below(f, 4) == 0 ? (u32)random_edge(&f->random) : below(f, 16);
  header[1] = 0;
  header[2] = below(f, 4) == 0 ? (u32)random_edge(&f->random) : below(f, 256);
  header[3] = below(f, 8) == 0 ? (u32)random_edge(&f->random) : 0;
  bool reads = below(f, 2) == 0;
  d[0].address = at, d[0].length = 16, d[0].flags = DESCRIPTOR_NEXT, d[0].next = 1;
  d[1].address = fuzz_address(f, 1), d[1].length = any_length(f), d[1].next = 2;
  d[1].flags = (u16)(reads ? DESCRIPTOR_NEXT | DESCRIPTOR_WRITE : DESCRIPTOR_NEXT);
  d[2].address = at + 16, d[2].length = 1, d[2].flags = DESCRIPTOR_WRITE, d[2].next = 0;
}

void fuzz_rings(struct fuzzer *f) {
  const struct victim *v = any_victim(f);
  u32 queue = below(f, FUZZ_QUEUES);
  u64 at = slot(v, queue), table = at + TABLE_AT;
  volatile struct descriptor *descriptors = (volatile struct descriptor *)(at + DESCRIPTORS_AT);
  volatile struct available *available = (volatile struct available *)(at + AVAILABLE_AT);
  f->rings++;
  for (u32 i = 0; i < 2; i++) {
    u32 n = below(f, FUZZ_RING_SIZE);
    write_descriptor(f, &descriptors[n], n, FUZZ_RING_SIZE, table);
    n = below(f, FUZZ_TABLE_ENTRIES);
    write_descriptor(f, (volatile struct descriptor *)table + n, n, FUZZ_TABLE_ENTRIES, below(f, 8) == 0 ? table : 0);
  }
  bool request = v->device.type == VIRTIO_BLK && below(f, 2) == 0;
  if (request) write_request(f, descriptors, table + FUZZ_TABLE_ENTRIES * DESCRIPTOR_BYTES);
  u16 index = available->index, count = (u16)below(f, 4);
  for (u16 i = 0; i < count; i++) {
    u16 head = (u16)(request ? 0 : below(f, 16) == 0 ? random_edge(&f->random) : below(f, FUZZ_RING_SIZE));
    available->ring[(u16)(index + i) % FUZZ_RING_SIZE] = head;
  }
  available->flags = (u16)below(f, 2);
  if (below(f, 4) == 0) available->ring[FUZZ_RING_SIZE] = (u16)random_edge(&f->random); /* used_event */
  if (below(f, 8) == 0) *(volatile u32 *)(at + USED_AT) = (u32)random_next(&f->random);
  compiler_barrier();
  available->index = (u16)(below(f, 16) == 0 ? (u16)random_edge(&f->random) : index + count);
  full_barrier();
  ring(f, v, below(f, 8) == 0 ? any_queue(f) : queue);
}
