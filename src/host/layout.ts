/**
 * C structure layouts, declared once in TypeScript. Any thread.
 *
 * `struct('kvm_irqfd', { fd: 'u32', ..., pad: ['u8', 16] })` computes offsets as a C compiler does for naturally aligned
 * fields; test/unit/host/layouts.test.ts compares size and offsets with the kernel's headers through the addon. Code
 * reads and writes fields by `offset` in a DataView of its own, little-endian.
 */
export type Scalar = 'u8' | 'u16' | 'u32' | 'u64';
export interface Struct<F extends string = string> {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly offset: { readonly [K in F]: number };
}
export type FieldType = Scalar | Struct | readonly [Scalar | Struct, number];

const scalarSize: Record<Scalar, number> = { u8: 1, u16: 2, u32: 4, u64: 8 };

export function struct<const F extends string>(name: string, fields: Record<F, FieldType>): Struct<F> {
  const offset = {} as Record<F, number>;
  let end = 0;
  let align = 1;
  for (const field of Object.keys(fields) as F[]) {
    const declared = fields[field];
    const [type, count] = Array.isArray(declared)
      ? (declared as readonly [Scalar | Struct, number])
      : [declared as Scalar | Struct, 1];
    const size = typeof type === 'string' ? scalarSize[type] : type.size;
    const alignment = typeof type === 'string' ? size : type.align;
    end = Math.ceil(end / alignment) * alignment;
    offset[field] = end;
    end += size * count;
    align = Math.max(align, alignment);
  }
  return { name, size: Math.ceil(end / align) * align, align, offset };
}
