/** The small checks that manifests are read with. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  boolean,
  type Check,
  integer,
  json,
  list,
  Mismatch,
  multipleOf,
  object,
  oneOf,
  optional,
  text,
  variant,
} from '../../../src/snapshot/schema.js';

const machine = object({
  cpus: integer(1, 64),
  name: optional(text(/^[a-z]+$/, 'a name')),
  devices: list(
    variant({
      disk: { size: multipleOf(512, 0, 2 ** 40), readOnly: boolean },
      none: {},
    }),
    3,
  ),
});

const refused = (check: Check<unknown>, value: unknown): string => {
  try {
    check(value, 'here');
  } catch (error) {
    expect(error).toBeInstanceOf(Mismatch);
    return (error as Mismatch).message;
  }
  throw new Error('it was taken');
};

test('what has the form is answered, as values of its own', () => {
  const given = { cpus: 2, devices: [{ kind: 'disk', size: 1024, readOnly: true }, { kind: 'none' }] };
  const checked = machine(given, '');
  expect(checked).toEqual(given);
  expect(checked).not.toBe(given);
  expect(checked.devices).not.toBe(given.devices);
  expect(Object.keys(checked)).not.toContain('name');
});

test.each<[string, unknown, string]>([
  ['no object', null, 'here: null is not an object'],
  ['a list', [], 'here: a list of 0 is not an object'],
  ['a missing field', { devices: [] }, 'here.cpus: nothing is not a whole number from 1 to 64'],
  ['an unknown field', { cpus: 1, devices: [], more: 1 }, 'here: there is no field "more"'],
  ['half a number', { cpus: 1.5, devices: [] }, 'here.cpus: 1.5 is not'],
  ['too many', { cpus: 65, devices: [] }, 'here.cpus: 65 is not'],
  ['text', { cpus: '1', devices: [] }, 'here.cpus: "1" is not'],
  ['a name with a line', { cpus: 1, name: 'a\nb', devices: [] }, 'here.name: "a\\nb" is not a name'],
  ['a name that is null', { cpus: 1, name: null, devices: [] }, 'here.name: null is not a name'],
  ['too long a list', { cpus: 1, devices: Array(4).fill({ kind: 'none' }) }, 'a list of 4 where 0 to 3 are possible'],
  ['an unknown kind', { cpus: 1, devices: [{ kind: 'x' }] }, 'here.devices[0].kind: "x" is not one of disk, none'],
  ['no kind', { cpus: 1, devices: [{}] }, 'here.devices[0].kind: nothing is not one of'],
  ['another kind`s field', { cpus: 1, devices: [{ kind: 'none', size: 1 }] }, 'there is no field "size"'],
  [
    'no multiple',
    { cpus: 1, devices: [{ kind: 'disk', size: 5, readOnly: true }] },
    'here.devices[0].size: 5 is not a multiple of 512',
  ],
  [
    'no boolean',
    { cpus: 1, devices: [{ kind: 'disk', size: 0, readOnly: 1 }] },
    'readOnly: 1 is neither true nor false',
  ],
])('%s is refused by its place', (_what, value, says) => {
  expect(refused(machine, value)).toContain(says);
});

test('names of all objects are no fields', () => {
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty'])
    expect(refused(object({}), JSON.parse(`{"${name}": {}}`))).toContain('there is no field');
  expect(refused(object({ toString: text(/./, 'text') }), {})).toContain('toString: nothing is not text');
  expect(refused(variant({ a: {} }), JSON.parse('{"__proto__": {"kind": "a"}}'))).toContain('kind: nothing');
});

test('messages are short, and hold no control characters', () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withTypedArray: true }), (value) => {
      const message = refused(oneOf('x'), value === 'x' ? 'y' : value);
      expect(message.length).toBeLessThan(500);
      expect(message).not.toMatch(/\p{Cc}/u);
    }),
  );
});

describe('whatever is given is refused or has the form', () => {
  const anything = fc.anything({ maxDepth: 4 });
  test('by itself and by another check', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anything,
          fc.record({
            cpus: anything,
            devices: fc.array(
              fc.record({ kind: fc.constantFrom('disk', 'none'), size: anything }, { requiredKeys: ['kind'] }),
            ),
          }),
        ),
        (value) => {
          let checked: ReturnType<typeof machine>;
          try {
            checked = machine(value, '');
          } catch (error) {
            expect(error).toBeInstanceOf(Mismatch);
            return;
          }
          expect(machine(JSON.parse(JSON.stringify(checked)), '')).toEqual(checked);
        },
      ),
      { numRuns: 500 },
    );
  });
  test('numbers', () => {
    for (const value of [-0, 0]) expect(Object.is(integer(0, 9)(value, ''), 0)).toBe(true);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -1])
      refused(integer(0, Number.MAX_SAFE_INTEGER), value);
    expect(json(null, '')).toBe(null);
    refused(json, undefined);
  });
});
