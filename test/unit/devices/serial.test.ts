import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../src/bus/bus.js';
import { gsi } from '../../../src/devices/memory-map.js';
import { Serial } from '../../../src/devices/serial.js';
import { resetSerial, SerialHost } from '../../../src/devices/serial-host.js';
import { bindSerial, layoutSerial, type SerialOptions } from '../../../src/devices/serial-registers.js';
import { explore } from '../virtio/transport/interleave.js';
import { Canary } from './canary.js';
import { MockWires } from './mock-wires.js';

// Names as in Linux's include/uapi/linux/serial_reg.h, so that sequences below read like the driver's.
const UART = { RX: 0, TX: 0, IER: 1, IIR: 2, FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7, DLL: 0, DLM: 1, EFR: 2 };
const IER_RDI = 1;
const IER_THRI = 2;
const IER_RLSI = 4;
const IER_MSI = 8;
const IIR_NO_INT = 1;
const LSR_DR = 0x01;
const LSR_OE = 0x02;
const LSR_THRE = 0x20;
const LSR_TEMT = 0x40;
const MCR_RTS = 0x02;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;

function make(options: SerialOptions = {}) {
  const layout = layoutSerial(64, options);
  const canary = new Canary(layout.end - 64);
  const wires = new MockWires();
  resetSerial(canary.buffer, layout);
  const state = bindSerial(canary.buffer, layout);
  const serial = new Serial(state, wires);
  const host = new SerialHost(canary.buffer, layout, wires.setLine);
  const inb = (register: number): number => serial.read(register, 1);
  const outb = (register: number, value: number): void => serial.write(register, 1, value);
  const output = (): string => {
    const bytes = new Uint8Array(4096);
    return Buffer.from(bytes.subarray(0, host.readOutput(bytes))).toString('latin1');
  };
  const type = (text: string): void => {
    host.writeInput(Buffer.from(text, 'latin1'));
    host.settle();
  };
  return { canary, wires, serial, host, inb, outb, output, type, state };
}

describe('what Linux 8250 autoconfiguration asks', () => {
  test('IER holds four bits, scratch holds a byte', () => {
    const { inb, outb } = make();
    outb(UART.IER, 0);
    expect(inb(UART.IER) & 0x0f).toBe(0);
    outb(UART.IER, 0x0f);
    expect(inb(UART.IER)).toBe(0x0f);
    outb(UART.IER, 0xff);
    expect(inb(UART.IER)).toBe(0x0f); // bit 6 set would be an XScale UART
    outb(UART.SCR, 0xa5);
    expect(inb(UART.SCR)).toBe(0xa5);
  });

  test('the loopback test: MCR 0x1a shows as CTS and DCD', () => {
    const { inb, outb } = make();
    outb(UART.MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
    expect(inb(UART.MSR) & 0xf0).toBe(0x90);
    outb(UART.MCR, 0);
    expect(inb(UART.MSR) & 0xf0).toBe(0xb0);
  });

  test('is a 16550A: FIFOs on, no EFR of a 16650 or 16750', () => {
    const { inb, outb } = make();
    expect(inb(UART.IIR) >> 6).toBe(0);
    outb(UART.FCR, 1);
    expect(inb(UART.IIR) >> 6).toBe(3);
    outb(UART.LCR, 0x80);
    expect(inb(UART.EFR)).not.toBe(0);
    outb(UART.LCR, 0xbf);
    expect(inb(UART.EFR)).not.toBe(0);
    outb(UART.LCR, 0);
    outb(UART.FCR, 0xe1); // a 16750 would show 64-byte FIFOs here
    expect(inb(UART.IIR) & 0xe0).toBe(0xc0);
  });

  test('size_fifo: 256 bytes in loopback leave 16 in the FIFO and an overrun', () => {
    const { inb, outb } = make();
    outb(UART.LCR, 0);
    outb(UART.FCR, 0x07);
    outb(UART.MCR, MCR_LOOP);
    outb(UART.LCR, 0x80);
    outb(UART.DLL, 1);
    outb(UART.DLM, 0);
    outb(UART.LCR, 0x03);
    for (let i = 0; i < 256; i++) outb(UART.TX, i);
    expect(inb(UART.LSR) & LSR_OE).toBe(LSR_OE);
    let count = 0;
    for (; count < 256 && (inb(UART.LSR) & LSR_DR) !== 0; count++) expect(inb(UART.RX)).toBe(count);
    expect(count).toBe(16);
  });

  test('the THRE test: enabling the interrupt again raises it again', () => {
    const { inb, outb } = make();
    outb(UART.IER, IER_THRI);
    expect(inb(UART.IIR) & IIR_NO_INT).toBe(0);
    outb(UART.IER, 0);
    outb(UART.IER, IER_THRI);
    expect(inb(UART.IIR) & IIR_NO_INT).toBe(0); // else UART_BUG_THRE
    outb(UART.IER, 0);
  });

  test('the TXEN test: THRE interrupt comes with the enable, not with a byte', () => {
    const { inb, outb } = make();
    outb(UART.IER, IER_THRI);
    const lsr = inb(UART.LSR);
    const iir = inb(UART.IIR);
    expect((lsr & LSR_TEMT) !== 0 && (iir & IIR_NO_INT) !== 0).toBe(false); // else UART_BUG_TXEN
  });

  test('the divisor latch is apart from data and IER', () => {
    const { inb, outb, output } = make();
    outb(UART.IER, 0x05);
    outb(UART.LCR, 0x83);
    outb(UART.DLL, 0x34);
    outb(UART.DLM, 0x12);
    expect([inb(UART.DLL), inb(UART.DLM)]).toEqual([0x34, 0x12]);
    outb(UART.LCR, 0x03);
    expect(inb(UART.IER)).toBe(0x05);
    expect(output()).toBe('');
  });
});

describe('transmit', () => {
  test('bytes reach the host in order; main is woken; the transmitter is always ready', () => {
    const { inb, outb, output, wires } = make();
    for (const c of 'hello') {
      expect(inb(UART.LSR) & (LSR_THRE | LSR_TEMT)).toBe(LSR_THRE | LSR_TEMT);
      outb(UART.TX, c.charCodeAt(0));
    }
    expect(wires.mainWakes).toBeGreaterThan(0);
    expect(output()).toBe('hello');
  });

  test('serial8250_tx_chars: one interrupt per burst, the line falls when IIR is read and rises with the next byte', () => {
    const { inb, outb, wires } = make();
    outb(UART.FCR, 1);
    outb(UART.IER, IER_THRI);
    expect(wires.line(gsi.serial)).toBe(1);
    expect(inb(UART.IIR)).toBe(0xc2);
    expect(wires.line(gsi.serial)).toBe(0);
    expect(inb(UART.IIR)).toBe(0xc1);
    for (let i = 0; i < 16; i++) outb(UART.TX, 0x41);
    expect(wires.line(gsi.serial)).toBe(1);
    expect(inb(UART.IIR)).toBe(0xc2);
    outb(UART.IER, 0);
    expect(wires.line(gsi.serial)).toBe(0);
    expect(wires.lineCalls.map(([, level]) => level)).toEqual([1, 0, 1, 0]);
  });

  test('an overflowing ring drops bytes and counts them, the guest goes on', () => {
    const { inb, outb, output, host } = make({ outputCapacity: 32 });
    for (let i = 0; i < 40; i++) outb(UART.TX, 0x30 + i);
    expect(inb(UART.LSR) & LSR_THRE).toBe(LSR_THRE);
    expect(host.droppedBytes).toBe(8);
    expect(output()).toHaveLength(32);
    outb(UART.TX, 0x21);
    expect(output()).toBe('!');
  });

  test('with the blocking policy the transmitter is busy until the host reads, then interrupts', () => {
    const { inb, outb, output, host, wires } = make({ outputCapacity: 32, blockWhenFull: true });
    outb(UART.IER, IER_THRI);
    inb(UART.IIR);
    let sent = 0;
    while ((inb(UART.LSR) & LSR_THRE) !== 0 && sent < 100) {
      for (let i = 0; i < 16; i++) outb(UART.TX, 0x61); // a driver fills the FIFO whenever THRE is on
      sent += 16;
      inb(UART.IIR);
    }
    expect(sent).toBe(32);
    expect(host.droppedBytes).toBe(0);
    expect(wires.line(gsi.serial)).toBe(0);
    expect(host.unsettled).toBe(false);
    expect(output()).toHaveLength(32);
    expect(host.unsettled).toBe(true);
    host.settle();
    expect(host.unsettled).toBe(false);
    expect(wires.line(gsi.serial)).toBe(1);
    expect(inb(UART.IIR)).toBe(0x02);
    expect(inb(UART.LSR) & LSR_TEMT).toBe(LSR_TEMT);
  });

  test('a blocked transmitter wakes even if the interrupt is enabled only while it is blocked', () => {
    const { outb, output, host, wires } = make({ outputCapacity: 16, blockWhenFull: true });
    for (let i = 0; i < 16; i++) outb(UART.TX, 0x62);
    outb(UART.IER, IER_THRI);
    expect(wires.line(gsi.serial)).toBe(0);
    output();
    expect(host.unsettled).toBe(true);
    host.settle();
    expect(wires.line(gsi.serial)).toBe(1);
  });
});

test('main drains while a byte blocks the transmitter, in every order: the guest is always told', () => {
  explore(() => {
    const { state, host, outb, wires } = make({ outputCapacity: 16, blockWhenFull: true });
    outb(UART.IER, IER_THRI);
    for (let i = 0; i < 15; i++) state.output.push(i);
    let told = false;
    return {
      threads: [
        () => outb(UART.TX, 0x41),
        () => {
          host.readOutput(new Uint8Array(32));
          told = host.unsettled;
        },
      ],
      snapshot: () => [state.output.length, state.registers.stalled[0], told],
      check: () => {
        if (told) host.settle(); // once it has the lock
        expect(state.registers.transmitterInterrupt === 1 || state.output.space < 16).toBe(true);
        expect(wires.line(gsi.serial)).toBe(state.registers.transmitterInterrupt);
      },
    };
  });
});

describe('receive', () => {
  test('trigger level gives "data", less gives "time-out", priority over THRE', () => {
    const { inb, outb, type, wires } = make();
    outb(UART.FCR, 0x81); // trigger at 8
    outb(UART.IER, IER_RDI | IER_THRI);
    type('abc');
    expect(wires.line(gsi.serial)).toBe(1);
    expect(inb(UART.IIR)).toBe(0xcc);
    type('defgh');
    expect(inb(UART.IIR)).toBe(0xc4);
    expect(Array.from({ length: 8 }, () => String.fromCharCode(inb(UART.RX))).join('')).toBe('abcdefgh');
    expect(inb(UART.IIR)).toBe(0xc2);
    expect(inb(UART.IIR)).toBe(0xc1);
    expect(wires.line(gsi.serial)).toBe(0);
  });

  test('without FIFOs one byte at a time', () => {
    const { inb, outb, type } = make();
    outb(UART.IER, IER_RDI);
    type('xyz');
    expect(inb(UART.IIR)).toBe(0x04);
    const got: string[] = [];
    while ((inb(UART.LSR) & LSR_DR) !== 0) got.push(String.fromCharCode(inb(UART.RX)));
    expect(got.join('')).toBe('xyz');
    expect(inb(UART.RX)).toBe(0);
  });

  test('more input than the ring takes waits at the host, which is told when there is room', () => {
    const { inb, outb, host, wires } = make();
    outb(UART.FCR, 1);
    const text = new Uint8Array(6000).map((_, i) => i);
    const taken = host.writeInput(text);
    host.settle();
    expect(taken).toBe(4096);
    let read = 0;
    while (wires.mainWakes === 0 && read < 6000) expect(inb(UART.RX)).toBe(read++ & 0xff);
    expect(wires.mainWakes).toBe(1);
    expect(host.writeInput(text.subarray(taken))).toBe(6000 - 4096);
    host.settle();
    while (read < 6000) expect(inb(UART.RX)).toBe(read++ & 0xff);
    expect(inb(UART.LSR) & LSR_DR).toBe(0);
    expect(wires.mainWakes).toBe(1);
  });

  test('a driver that lowers RTS gets nothing more until it raises it; one that never used it gets everything', () => {
    const { inb, outb, type } = make();
    outb(UART.FCR, 1);
    type('a');
    expect(inb(UART.RX)).toBe(0x61);
    outb(UART.MCR, MCR_RTS | MCR_OUT2);
    outb(UART.MCR, MCR_OUT2); // the port is closed
    type('login');
    expect(inb(UART.LSR) & LSR_DR).toBe(0);
    outb(UART.FCR, 0x07); // the next open clears the FIFOs...
    outb(UART.MCR, MCR_RTS | MCR_OUT2);
    expect(String.fromCharCode(...Array.from({ length: 5 }, () => inb(UART.RX)))).toBe('login'); // ...and loses nothing
  });

  test('line status and modem status interrupts, and what clears them', () => {
    const { inb, outb } = make();
    outb(UART.MCR, MCR_LOOP);
    inb(UART.MSR);
    outb(UART.IER, IER_RLSI | IER_MSI | IER_RDI);
    outb(UART.TX, 1);
    outb(UART.TX, 2); // without FIFOs: overrun
    outb(UART.MCR, MCR_LOOP | MCR_RTS);
    expect(inb(UART.IIR)).toBe(0x06);
    expect(inb(UART.LSR) & LSR_OE).toBe(LSR_OE);
    expect(inb(UART.LSR) & LSR_OE).toBe(0);
    expect(inb(UART.IIR)).toBe(0x04);
    expect(inb(UART.RX)).toBe(2);
    expect(inb(UART.IIR)).toBe(0x00);
    expect(inb(UART.MSR)).toBe(0x11); // CTS, and that it changed
    expect(inb(UART.MSR)).toBe(0x10);
    expect(inb(UART.IIR)).toBe(0x01);
  });

  test('loopback output does not reach the host', () => {
    const { inb, outb, output } = make();
    outb(UART.MCR, MCR_LOOP);
    outb(UART.TX, 0x5a);
    expect(inb(UART.RX)).toBe(0x5a);
    expect(output()).toBe('');
  });
});

describe('hostile drivers', () => {
  const access = fc.record({
    write: fc.boolean(),
    offset: fc.nat(7),
    size: fc.constantFrom<AccessSize>(1, 2, 4),
    value: fc.nat(0xffff_ffff),
    input: fc.uint8Array({ maxLength: 40 }),
    drain: fc.boolean(),
  });

  test('no access throws, leaves its state or breaks the line, and the host always converges', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(access, { maxLength: 80 }), (blockWhenFull, accesses) => {
        const { canary, serial, host, wires, state } = make({ outputCapacity: 32, blockWhenFull });
        for (const { write, offset, size, value, input, drain } of accesses) {
          if (write) serial.write(offset, size, value);
          else {
            const got = serial.read(offset, size);
            expect(got >= 0 && got < 2 ** (8 * size)).toBe(true);
          }
          host.writeInput(input);
          if (drain) host.readOutput(new Uint8Array(64));
          if (host.unsettled) host.settle();
          expect(host.unsettled).toBe(false);
          expect(state.registers.receiveCount).toBeLessThanOrEqual(16);
          expect(wires.line(gsi.serial)).toBe(state.registers.line);
        }
        canary.check();
      }),
      { numRuns: 200 },
    );
  });
});
