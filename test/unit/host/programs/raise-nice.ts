/** Prints how nice this thread is after `raiseNice(ARGUMENT)`. */
import { getPriority } from 'node:os';
import { raiseNice } from '../../../../src/host/system.js';

raiseNice(Number(process.argv[2]));
console.log(getPriority());
