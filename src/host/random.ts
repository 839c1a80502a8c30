/**
 * Random bytes and identifiers. Any thread. node:crypto takes 9 ms to load, so it is loaded when something random is needed.
 */
const crypto = (): typeof import('node:crypto') => process.getBuiltinModule('node:crypto');

export const randomBytes = (count: number): Buffer => crypto().randomBytes(count);
export const randomUUID = (): string => crypto().randomUUID();
