/**
 * tsvmm/testing: machines for tests that vitest runs. An entry of its own: nothing else of the package knows vitest.
 *
 * Importing does nothing here either: the first test that wants a machine boots it.
 */
export type { VmTestOptions } from './template.js';
export { type VmTest, vmTest } from './vm-test.js';
