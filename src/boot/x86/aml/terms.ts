/**
 * Named objects and statements of AML that our tables use (ACPI 6.5 §20.2.5). Main thread.
 */
import { integer, namePath } from './data.js';
import type { Aml } from './writer.js';

const Op = {
  name: 0x08,
  scope: 0x10,
  method: 0x14,
  extended: 0x5b,
  device: 0x82,
  local0: 0x60,
  arg0: 0x68,
  store: 0x70,
  and: 0x7b,
  or: 0x7d,
  notify: 0x86,
  createDWordField: 0x8a,
  not: 0x92,
  equal: 0x93,
  if: 0xa0,
  else: 0xa1,
  return: 0xa4,
} as const;

const METHOD_SERIALIZED = 1 << 3;

const op =
  (code: number): Aml =>
  (out) =>
    out.byte(code);

/** Operator, then operands. */
const expression =
  (code: number, ...operands: Aml[]): Aml =>
  (out) => {
    out.byte(code);
    out.all(operands);
  };

/** Operator, then what it contains with its length. */
const block =
  (code: number, ...content: Aml[]): Aml =>
  (out) => {
    out.byte(code);
    out.sized(content);
  };

export const name = (path: string, value: Aml): Aml => expression(Op.name, namePath(path), value);
export const scope = (path: string, ...terms: Aml[]): Aml => block(Op.scope, namePath(path), ...terms);
export const device = (path: string, ...terms: Aml[]): Aml =>
  expression(Op.extended, block(Op.device, namePath(path), ...terms));
/** Serialized: methods that create named fields must be, as two threads would create them twice. */
export const method = (path: string, args: number, ...terms: Aml[]): Aml =>
  block(Op.method, namePath(path), op(args | METHOD_SERIALIZED), ...terms);

export const arg = (index: number): Aml => op(Op.arg0 + index);
export const local = (index: number): Aml => op(Op.local0 + index);
export const store = (value: Aml, target: Aml): Aml => expression(Op.store, value, target);
export const and = (a: Aml, b: Aml, target: Aml): Aml => expression(Op.and, a, b, target);
export const or = (a: Aml, b: Aml, target: Aml): Aml => expression(Op.or, a, b, target);
export const equal = (a: Aml, b: Aml): Aml => expression(Op.equal, a, b);
export const notEqual = (a: Aml, b: Aml): Aml => expression(Op.not, equal(a, b));
export const ifThen = (condition: Aml, ...terms: Aml[]): Aml => block(Op.if, condition, ...terms);
export const elseThen = (...terms: Aml[]): Aml => block(Op.else, ...terms);
/** Tells the driver of a device; what `value` means is the device's to say. */
export const notify = (path: string, value: number): Aml => expression(Op.notify, namePath(path), integer(value));
export const returnValue = (value: Aml): Aml => expression(Op.return, value);
/** A 32-bit field over `source` from byte `offset`. */
export const createDWordField = (source: Aml, offset: number, field: string): Aml =>
  expression(Op.createDWordField, source, integer(offset), namePath(field));
