/** Of the tests beside it, which run in the lab (test/lab/testing.test.ts). */
export default { test: { maxWorkers: 1, testTimeout: 120_000, hookTimeout: 120_000 } };
