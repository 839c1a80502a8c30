/** The matrix of boots (support/matrix.ts) over virtio-mmio. */
import { testCombinations } from './support/matrix.js';

testCombinations('mmio');
