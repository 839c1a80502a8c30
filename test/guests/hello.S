/*
 * hello: the smallest guest, for launch benches. Prints one line on the serial port and ends the machine through the
 * debug exit port. It stays in the 32-bit protected mode without paging that PVH starts it in (Xen
 * docs/misc/pvh.pandoc).
 *
 * A command line that begins with "reset" ends it by an i8042 reset instead. Without a debug exit port (whose write
 * does nothing then) the i8042 reset follows anyway, and a machine with neither is halted.
 *
 * This file is built as ELF32 with a 4-byte note value; the other guests are ELF64 with an 8-byte one, as Linux is.
 */
#define DEBUG_EXIT_PORT 0xf4
#define I8042_COMMAND_PORT 0x64
#define I8042_PULSE_RESET 0xfe
#define SERIAL_PORT 0x3f8
#define START_INFO_COMMAND_LINE 24 /* struct hvm_start_info.cmdline_paddr */

.section .note.pvh, "a", @note
.balign 4
  .long 4, 4, 18 /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
  .asciz "Xen"
  .long pvh_entry

.code32
.section .text.entry, "ax"
.globl pvh_entry
pvh_entry:
  mov $SERIAL_PORT, %dx
  mov $message, %esi
1: lodsb
  test %al, %al
  jz 2f
  out %al, %dx
  jmp 1b

2: mov START_INFO_COMMAND_LINE(%ebx), %esi
  test %esi, %esi
  jz 3f
  cmpl $0x65736572, (%esi) /* "rese" */
  jne 3f
  cmpb $0x74, 4(%esi) /* "t" */
  je 4f

3: xor %eax, %eax
  out %al, $DEBUG_EXIT_PORT
4: mov $I8042_PULSE_RESET, %al
  out %al, $I8042_COMMAND_PORT
5: hlt
  jmp 5b

message: .asciz "hello from guest\n"
