/**
 * A vitest reporter that keeps, for scripts/test.js, what became of every test, and which were skipped why: in the file that
 * TSVMM_TEST_SUMMARY names. The reason is the note of `context.skip(note)`, or else what the names of the test and its suites
 * say.
 */
import { writeFileSync } from 'node:fs';

/** @implements {import('vitest/reporters').Reporter} */
export default class SummaryReporter {
  /** @param {readonly import('vitest/node').TestModule[]} modules @param {readonly unknown[]} unhandledErrors */
  onTestRunEnd(modules, unhandledErrors) {
    const file = process.env.TSVMM_TEST_SUMMARY;
    if (file === undefined) return;
    const counts = { passed: 0, failed: 0, skipped: 0 };
    /** @type {{ project: string, file: string, test: string, note: string | undefined }[]} */
    const skips = [];
    /** @type {{ project: string, file: string, test: string, state: string, seconds: number }[]} */
    const tests = [];
    let brokenFiles = 0;
    for (const module of modules) {
      if (module.state() === 'failed' && module.errors().length > 0) brokenFiles++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        tests.push({
          project: module.project.name,
          file: module.relativeModuleId,
          test: test.fullName,
          state: result.state,
          seconds: (test.diagnostic()?.duration ?? 0) / 1000,
        });
        if (result.state === 'passed' || result.state === 'failed') counts[result.state]++;
        else {
          counts.skipped++;
          skips.push({
            project: module.project.name,
            file: module.relativeModuleId,
            test: test.fullName,
            note: result.state === 'skipped' ? result.note : 'never ran',
          });
        }
      }
    }
    // A file that could not be loaded, or an error outside any test, is a failure that no test counts.
    counts.failed += brokenFiles + (unhandledErrors.length > 0 ? 1 : 0);
    writeFileSync(file, JSON.stringify({ counts, skips, tests }));
  }
}
