import { defineConfig } from 'vitest/config';

/** Lab tests measure out a whole emulated machine, so the projects run one after the other, and those two file by file. */
const alone = (groupOrder: number) => ({ fileParallelism: false, sequence: { groupOrder } });

export default defineConfig({
  test: {
    pool: 'forks', // a stuck vCPU costs one child, not the run
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 90_000 } },
      { extends: true, test: { name: 'kvm', include: ['test/kvm/**/*.test.ts'], testTimeout: 240_000, ...alone(1) } },
      {
        extends: true,
        test: {
          name: 'node',
          include: ['test/node/**/*.test.ts'],
          globalSetup: 'test/node/support/global-setup.ts',
          testTimeout: 120_000,
          hookTimeout: 600_000,
          ...alone(2),
        },
      },
      {
        extends: true,
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          globalSetup: 'test/lab/support/global-setup.ts',
          testTimeout: 900_000,
          hookTimeout: 900_000,
          ...alone(3),
        },
      },
    ],
  },
});
