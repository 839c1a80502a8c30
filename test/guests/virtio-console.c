/*
 * virtio-console: writes to port 0 of a virtio console and echoes the lines that arrive there (virtio 1.2 §5.3).
 * Lines and what they do: "quit" ends the guest; "burst N" makes it write N numbered lines; anything else comes back
 * as "echo: LINE". Size changes arrive as configuration interrupts and are reported on the console and on the serial
 * port.
 *
 * Options: by=msix | intx | poll; indirect; event-index; device=N; buffers=N receive buffers (default 8).
 */
#include "runtime/cpu.h"
#include "runtime/exit.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/start-info.h"
#include "runtime/start.h"
#include "runtime/virtqueue.h"

#define FEATURE_SIZE (1ul << 0)
enum { QUEUE_RECEIVE = 0, QUEUE_TRANSMIT = 1, QUEUE_SIZE = 64, CONFIG_COLUMNS = 0, CONFIG_ROWS = 2 };
enum { RECEIVE_BYTES = 128, MAX_RECEIVE_BUFFERS = 32, LINE_BYTES = 1024, TRANSMIT_BYTES = 2048, POLLS_PER_LOOK = 2000 };

static struct virtio_device device;
static struct virtqueue receive, transmit;
static u8 *receive_buffers[QUEUE_MAX_SIZE]; /* by head */
static u32 columns, rows, size_changes, received, transmitted;

static void write_console(const char *text, u32 length) {
  static char *copy;
  if (copy == NULL) copy = allocate(TRANSMIT_BYTES, 16);
  for (u32 at = 0; at < length;) {
    u32 piece = length - at < TRANSMIT_BYTES ? length - at : TRANSMIT_BYTES;
    memcpy(copy, text + at, piece);
    virtqueue_add(&transmit, &(struct buffer){copy, piece, false}, 1);
    virtqueue_kick(&transmit);
    u16 head;
    u32 used;
    virtqueue_await(&transmit, &head, &used);
    check(used == 0, "transmitted buffer has used length %u", used);
    at += piece;
    transmitted += piece;
  }
}

static void write_format(const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  write_console(text, (u32)format_text(text, sizeof text, format, arguments));
  va_end(arguments);
}

static bool read_size(void) {
  if ((device.features & FEATURE_SIZE) == 0) return false;
  u32 new_columns = mmio_read16(device.config + CONFIG_COLUMNS), new_rows = mmio_read16(device.config + CONFIG_ROWS);
  if (new_columns == columns && new_rows == rows) return false;
  columns = new_columns;
  rows = new_rows;
  return true;
}

static void report_size(void) {
  if (!read_size()) return;
  size_changes++;
  print("console: size %ux%u\n", columns, rows);
  write_format("size %ux%u\r\n", columns, rows);
}

static void give_buffer(u8 *buffer) {
  u16 head = virtqueue_add(&receive, &(struct buffer){buffer, RECEIVE_BYTES, true}, 1);
  receive_buffers[head] = buffer;
}

/* Handles one complete line; true when it ends the guest. */
static bool handle_line(const char *line, u32 length) {
  if (length == 4 && memcmp(line, "quit", 4) == 0) return true;
  if (length > 6 && memcmp(line, "burst ", 6) == 0) {
    u32 count = 0;
    for (u32 i = 6; i < length && line[i] >= '0' && line[i] <= '9' && count < 100000; i++)
      count = count * 10 + (u32)(line[i] - '0');
    for (u32 i = 0; i < count; i++) write_format("burst line %u\r\n", i);
    return false;
  }
  write_format("echo: ");
  write_console(line, length);
  write_format("\r\n");
  return false;
}

static bool take_input(const u8 *bytes, u32 count) {
  static char line[LINE_BYTES];
  static u32 length;
  bool quit = false;
  for (u32 i = 0; i < count; i++) {
    if (bytes[i] != '\n' && bytes[i] != '\r') {
      if (length < LINE_BYTES) line[length++] = (char)bytes[i];
      continue;
    }
    if (length > 0) quit |= handle_line(line, length);
    length = 0;
  }
  return quit;
}

/* There is no limit to how long a person may take to type, so no deadline either. */
static void sleep_for_input(void) {
  receive.available->ring[receive.size] = receive.next_used; /* used_event, read only when EVENT_IDX was negotiated */
  full_barrier();
  if (receive.used->index != receive.next_used) return;
  if (device.mode == BY_POLLING) {
    for (int i = 0; i < POLLS_PER_LOOK && receive.used->index == receive.next_used; i++) cpu_relax();
  } else {
    wait_for_interrupt();
  }
}

void guest_main(void) {
  u32 buffers = (u32)option_number("buffers", 8);
  if (buffers < 1 || buffers > MAX_RECEIVE_BUFFERS) usage("buffers is 1 to %u", MAX_RECEIVE_BUFFERS);
  if (!virtio_find(&device, VIRTIO_CONSOLE, (u32)option_number("device", 0))) usage("no virtio-console device");
  u64 wanted =
      (option_given("indirect") ? FEATURE_INDIRECT : 0) | (option_given("event-index") ? FEATURE_EVENT_INDEX : 0);
  virtio_begin(&device, wanted | FEATURE_SIZE, virtio_mode_option());
  virtqueue_open(&receive, &device, QUEUE_RECEIVE, QUEUE_SIZE);
  virtqueue_open(&transmit, &device, QUEUE_TRANSMIT, QUEUE_SIZE);
  virtio_driver_ok(&device);
  read_size();
  print("console: negotiated 0x%lx, size %ux%u\n", device.features, columns, rows);
  for (u32 i = 0; i < buffers; i++) give_buffer(allocate(RECEIVE_BYTES, 16));
  virtqueue_kick(&receive);
  write_format("hello from virtio-console\r\n");
  for (bool quit = false; !quit;) {
    u16 head;
    u32 length;
    while (!quit && virtqueue_take(&receive, &head, &length)) {
      u8 *buffer = receive_buffers[head];
      check(length <= RECEIVE_BYTES, "received %u bytes in a buffer of %u", length, RECEIVE_BYTES);
      received += length;
      quit = take_input(buffer, length);
      give_buffer(buffer);
      virtqueue_kick(&receive);
    }
    report_size();
    if (!quit) sleep_for_input();
  }
  write_format("bye\r\n");
  virtio_settle(&device, transmit.interrupts);
  print("console ok: %u bytes in, %u bytes out, %u size changes, interrupts %u config %u receive %u transmit\n",
        received, transmitted, size_changes, device.interrupts[0], *receive.interrupts, *transmit.interrupts);
}
