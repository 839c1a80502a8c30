/** `tsvmm image inspect`: what a disk image holds and would boot. Main thread. */
import { findBootEntries } from '../boot/disk-boot.js';
import { inspectionJson, renderInspection } from '../boot/inspect.js';
import { openRawImage } from '../disk/raw-image.js';
import { parseDisk } from './values.js';
import { inCliWords } from './wording.js';

/** Looks at the image that `text` names, as `tsvmm run` would name it: `disk.img` or `disk.img,format=raw`. */
export async function inspectImage(text: string): Promise<{ text: string; data: object }> {
  const { path, format } = parseDisk(text, 'FILE');
  const image = await openRawImage(path, { format });
  try {
    const inspection = await findBootEntries(image);
    const said = inspectionJson(inspection);
    const partitions = said.partitions.map((partition) => ({
      ...partition,
      hint: partition.hint === null ? null : inCliWords(partition.hint),
    }));
    return { text: inCliWords(renderInspection(inspection)), data: { ...said, partitions } };
  } finally {
    await image.close();
  }
}
