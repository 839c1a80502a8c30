/** How much a test does: in the default run as much as finds most mistakes, in the full one as much as finds the rest. */

/** `npm run test:full`. */
export const full = process.env['TSVMM_TEST_FULL'] === '1';
const fullFactor = 10;

/** How many inputs to try. */
export const effort = (usual: number): number => (full ? usual * fullFactor : usual);
