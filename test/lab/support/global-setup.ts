/** Before the first lab test: the images are built and the host has booted once, which takes minutes and no test's time. */
import { ensureDisks, ensureLab } from '../../../scripts/lab/index.js';

export default async function setup(): Promise<void> {
  await ensureDisks();
  await ensureLab();
}
