import { defineConfig } from 'vitest/config';

/** The projects run one after the other; tests that time a process's end have the machine to themselves. */
const after = (groupOrder: number) => ({ sequence: { groupOrder } });

export default defineConfig({
  test: {
    pool: 'forks', // a stuck vCPU costs one child, not the run
    maxWorkers: 2, // a lab needs one processor of the machine and 3 GiB
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 90_000 } },
      {
        extends: true,
        test: {
          name: 'kvm',
          include: ['test/kvm/**/*.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 120_000,
          ...after(1),
        },
      },
      {
        extends: true,
        test: {
          name: 'node',
          include: ['test/node/**/*.test.ts'],
          globalSetup: 'test/node/support/global-setup.ts',
          maxConcurrency: 2, // tests of a file that are marked so: a program each
          testTimeout: 120_000,
          hookTimeout: 600_000,
          fileParallelism: false,
          ...after(2),
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
          ...after(3),
        },
      },
    ],
  },
});
