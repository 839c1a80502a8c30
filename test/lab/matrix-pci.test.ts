/** The matrix of boots (support/matrix.ts) over virtio-pci. */
import { testCombinations } from './support/matrix.js';

testCombinations('pci');
