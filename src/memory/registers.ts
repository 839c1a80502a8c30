/**
 * Register maps: typed views of a few bytes of machine state. Any thread.
 *
 * Guest-visible device state has no home but the machine state buffer (design §3), so a device names its registers
 * once, with a width each, and every vCPU thread binds the same map over the same bytes. Fields are laid out in order
 * with natural alignment and are little-endian, which every supported host is. `words` fields are for `Atomics`: they
 * are touched by threads that do not hold the machine lock.
 */
export interface Field<T> {
  readonly size: number;
  readonly align: number;
  /** How many 32-bit words or bytes a view field spans; absent for a plain number. */
  readonly view?: 'bytes' | 'words' | 'halves';
  readonly _type?: T;
}

export const u8: Field<number> = { size: 1, align: 1 };
export const u16: Field<number> = { size: 2, align: 2 };
export const u32: Field<number> = { size: 4, align: 4 };
/** A byte array, e.g. a FIFO. */
export const bytes = (count: number): Field<Uint8Array> => ({ size: count, align: 8, view: 'bytes' });
/** 16-bit words as a view. */
export const halves = (count: number): Field<Uint16Array> => ({ size: count * 2, align: 8, view: 'halves' });
/** 32-bit words as a view, for `Atomics`. */
export const words = (count: number): Field<Int32Array> => ({ size: count * 4, align: 8, view: 'words' });

// biome-ignore lint/suspicious/noExplicitAny: a field's type parameter is only a label
type Spec = Record<string, Field<any>>;
type Mutable<S extends Spec> = {
  -readonly [K in keyof S as S[K] extends Field<number> ? K : never]: number;
} & { readonly [K in keyof S as S[K] extends Field<number> ? never : K]: S[K] extends Field<infer T> ? T : never };

export type Registers<S extends Spec> = Mutable<S>;
export type RegistersOf<M> = M extends RegisterMap<infer S> ? Registers<S> : never;

export interface RegisterMap<S extends Spec> {
  readonly name: string;
  /** Bytes of one instance, a multiple of 8. */
  readonly size: number;
  /** Byte offset of each field from the instance's base. */
  readonly offsets: { readonly [K in keyof S]: number };
  /** The registers at `base` (8-aligned) of `buffer`. Make once, keep: binding allocates, access does not. */
  over(buffer: ArrayBufferLike, base: number): Registers<S>;
}

export function registerMap<S extends Spec>(name: string, spec: S): RegisterMap<S> {
  const offsets: Record<string, number> = {};
  let end = 0;
  for (const [field, { size, align }] of Object.entries(spec)) {
    end = Math.ceil(end / align) * align;
    offsets[field] = end;
    end += size;
  }
  const size = Math.ceil(end / 8) * 8;

  class Bound {
    readonly view: DataView;
    constructor(buffer: ArrayBufferLike, base: number) {
      if (base % 8 !== 0) throw new RangeError(`${name}: base ${base} is not 8-aligned`);
      this.view = new DataView(buffer, base, size);
      for (const [field, f] of Object.entries(spec)) {
        const at = base + offsets[field]!;
        if (f.view === 'bytes') Object.defineProperty(this, field, { value: new Uint8Array(buffer, at, f.size) });
        if (f.view === 'halves') Object.defineProperty(this, field, { value: new Uint16Array(buffer, at, f.size / 2) });
        if (f.view === 'words') Object.defineProperty(this, field, { value: new Int32Array(buffer, at, f.size / 4) });
      }
    }
  }
  for (const [field, f] of Object.entries(spec)) {
    if (f.view === undefined) Object.defineProperty(Bound.prototype, field, accessor(offsets[field]!, f.size));
  }
  return {
    name,
    size,
    offsets: offsets as { readonly [K in keyof S]: number },
    over: (buffer, base) => new Bound(buffer, base) as unknown as Registers<S>,
  };
}

type Bound = { readonly view: DataView };

function accessor(offset: number, size: number): PropertyDescriptor & ThisType<Bound> {
  if (size === 1)
    return {
      get() {
        return this.view.getUint8(offset);
      },
      set(value: number) {
        this.view.setUint8(offset, value);
      },
    };
  if (size === 2)
    return {
      get() {
        return this.view.getUint16(offset, true);
      },
      set(value: number) {
        this.view.setUint16(offset, value, true);
      },
    };
  return {
    get() {
      return this.view.getUint32(offset, true);
    },
    set(value: number) {
      this.view.setUint32(offset, value, true);
    },
  };
}
