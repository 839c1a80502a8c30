import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRequest } from '../../../../src/cli/control/commands/table.js';
import { readResult, wholeNumber, word } from '../../../../src/cli/control/fields.js';
import {
  errorLine,
  helloLine,
  LineReader,
  mostLine,
  parseAnswer,
  parseHello,
  parseLine,
  resultLine,
} from '../../../../src/cli/control/protocol.js';
import { TsvmmError } from '../../../../src/errors.js';

/** Bytes, cut at arbitrary places. */
const cut = (bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer[]> =>
  fc.tuple(bytes, fc.array(fc.nat(), { maxLength: 10 })).map(([all, places]) => {
    const ends = [...places.map((place) => place % (all.length + 1)), all.length].sort((a, b) => a - b);
    return ends.map((end, i) => all.subarray(i === 0 ? 0 : ends[i - 1], end));
  });
const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

function linesOf(chunks: readonly Buffer[]): { lines: Buffer[]; rest: Buffer; isTooLong: boolean } {
  const reader = new LineReader();
  const lines: Buffer[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let line = reader.take(); line !== undefined; line = reader.take()) lines.push(line);
  }
  const { isTooLong } = reader;
  return { lines, isTooLong, rest: reader.rest() };
}

describe('lines', () => {
  it('are the same however they were cut', () => {
    const text = fc.array(fc.oneof(bytes(40), fc.constant(Buffer.from('\n'))), { maxLength: 20 });
    fc.assert(
      fc.property(cut(text.map((parts) => Buffer.concat(parts))), (chunks) => {
        const all = Buffer.concat(chunks);
        const { lines, rest, isTooLong } = linesOf(chunks);
        expect(Buffer.concat([...lines.flatMap((line) => [line, Buffer.from('\n')]), rest])).toEqual(all);
        expect(rest.includes(0x0a)).toBe(false);
        expect(isTooLong).toBe(false);
      }),
    );
  });

  it.each([
    [mostLine - 1, 1, false],
    [mostLine, 0, true],
    [10 * mostLine, 0, true],
  ])('of %i bytes are %i, and too long: %s', (length, count, isTooLong) => {
    const line = Buffer.concat([Buffer.alloc(length, 'x'), Buffer.from('\nafter\n')]);
    const read = linesOf([line]);
    expect(read.lines.length).toBe(count === 0 ? 0 : 2);
    expect(read.isTooLong).toBe(isTooLong);
    // without its end it is too long as soon as no end can be in time
    expect(linesOf([line.subarray(0, length)]).isTooLong).toBe(isTooLong);
  });
});

describe('a request', () => {
  it.each([
    ['{"command":"status"}', { command: 'status', fields: {} }],
    [' { "command" : "stop", "timeoutMs": 1 } ', { command: 'stop', fields: { timeoutMs: 1 } }],
    ['{"command":"stop","kill":true}\r', { command: 'stop', fields: { kill: true } }],
  ])('%s', (line, request) => {
    expect(parseRequest(Buffer.from(line))).toEqual(request);
  });

  it.each([
    ['', 'no JSON object'],
    ['null', 'no JSON object'],
    ['[]', 'no JSON object'],
    ['"status"', 'no JSON object'],
    ['{"command":"status"} {}', 'no JSON object'],
    ['{}', 'there is no command undefined'],
    ['{"command":"stauts"}', 'there is no command "stauts"'],
    ['{"command":["status"]}', 'there is no command ["status"]'],
    ['{"command":"__proto__"}', 'there is no command "__proto__"'],
    ['{"command":"toString"}', 'there is no command "toString"'],
    ['{"command":"pause","force":true}', 'there is no field "force"'],
    ['{"command":"pause","toString":1}', 'there is no field "toString"'],
    ['{"command":"stop","__proto__":{"kill":true}}', 'there is no field "__proto__"'],
    ['{"command":"stop","kill":1}', 'kill: 1 is not possible'],
    ['{"command":"stop","kill":null}', 'kill: null is not possible'],
    ['{"command":"stop","timeoutMs":0}', 'timeoutMs: 0 is not possible'],
    ['{"command":"stop","timeoutMs":1.5}', 'timeoutMs: 1.5 is not possible'],
    ['{"command":"stop","timeoutMs":2147483648}', 'timeoutMs: 2147483648 is not possible'],
    ['{"command":"stop","timeoutMs":"10s"}', 'timeoutMs: "10s" is not possible'],
  ])('is not %s', (line, message) => {
    expect(() => parseRequest(Buffer.from(line))).toThrow(
      expect.objectContaining({ code: 'ERR_TSVMM_CONFIG', message: expect.stringContaining(message) }),
    );
  });

  it('is one, or an error of the right kind, whatever comes', () => {
    const almost = fc
      .record(
        {
          command: fc.oneof(fc.constantFrom('status', 'pause', 'resume', 'stop', 'console'), fc.jsonValue()),
          timeoutMs: fc.oneof(fc.integer(), fc.jsonValue()),
          kill: fc.oneof(fc.boolean(), fc.jsonValue()),
        },
        { requiredKeys: [] },
      )
      .map((object) => Buffer.from(JSON.stringify(object)));
    fc.assert(
      fc.property(fc.oneof(bytes(200), fc.json().map(Buffer.from), almost), (line) => {
        try {
          const { command, fields } = parseRequest(line as Buffer);
          expect(['status', 'pause', 'resume', 'stop', 'console']).toContain(command);
          for (const value of Object.values(fields)) expect(['number', 'boolean']).toContain(typeof value);
        } catch (error) {
          if (!(error instanceof TsvmmError)) throw error;
          expect(error.code).toBe('ERR_TSVMM_CONFIG');
        }
      }),
    );
  });
});

describe('the answers', () => {
  const read = (line: string) => parseLine(Buffer.from(line));

  it('come through as they were', () => {
    expect(parseHello(read(helloLine({ name: 'web', pid: 7 })))).toEqual({ name: 'web', pid: 7 });
    expect(parseAnswer(read(resultLine({ reason: 'stopped' })))).toEqual({ reason: 'stopped' });
    const error = { code: 'ERR_TSVMM_TIMEOUT', message: 'late \x1b[2J\u009b', hint: 'wait' } as const;
    expect(errorLine(error)).toMatch(/^[\x20-\x7e]+\n$/); // nothing that a terminal obeys
    expect(() => parseAnswer(read(errorLine(error)))).toThrow(expect.objectContaining(error));
  });

  it.each([
    ['{"tsvmm":2,"name":"web","pid":1}', 'it speaks version 2 of the protocol, and this is version 1'],
    ['{"tsvmm":"\\u001b[2J"}', 'it speaks version NaN of the protocol, and this is version 1'],
    ['{"tsvmm":1,"name":"../web","pid":1}', 'not understood'],
    ['{"tsvmm":1,"name":"web","pid":"1"}', 'not understood'],
    ['{"hello":1}', 'not understood'],
    ['{"error":{"code":"ERR_TSVMM_STATE","message":"full"}}', 'full'],
  ])('hello is not %s', (line, message) => {
    expect(() => parseHello(read(line))).toThrow(message);
  });

  it.each([
    '{}',
    '{"result":1}',
    '{"result":[]}',
    '{"error":null}',
    '{"error":{"code":"toString","message":"x"}}',
    '{"error":{"code":"ERR_TSVMM_STATE","message":1}}',
  ])('an answer is not %s', (line) => {
    expect(() => parseAnswer(read(line))).toThrow(
      expect.objectContaining({ code: 'ERR_TSVMM_STATE', message: expect.stringContaining('not understood') }),
    );
  });

  it('have all fields, each of its kind, and more of a newer version', () => {
    const shape = { state: word, cpus: wholeNumber };
    expect(readResult(shape, { state: 'paused', cpus: 2, colour: 'red' })).toEqual({ state: 'paused', cpus: 2 });
    for (const wrong of [{ state: 'paused' }, { state: '\x1b[2J', cpus: 1 }, { state: 'paused', cpus: -1 }])
      expect(() => readResult(shape, wrong)).toThrow('is not possible');
  });
});
