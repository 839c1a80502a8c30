/** What other scripts and the tests use of the test beds. */
export { ensureDisk, ensureDisks } from '../images/disks.js';
export { ensureFioDisk } from '../images/fio.js';
export { cacheFolder } from './cache.js';
export { ensureDebugSymbols } from './debug-symbols.js';
export { ensureGenerationKernel, ensureMicrovmKernel } from './kernels.js';
export { ensureLab, Lab, openLab } from './lab.js';
export { runInLab } from './run.js';
export { installPackages, LabError } from './tools.js';
