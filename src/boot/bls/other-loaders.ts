/**
 * What systemd-boot adds to its menu by itself: other EFI boot loaders that it finds, and the firmware's set-up
 * (systemd-boot(7)). None of it can be booted without firmware; it is listed so that the menu is the one people know.
 * Main thread.
 */
import { openFile } from '../entries/open-file.js';
import type { Volume } from '../entries/volume.js';
import { identifyProgram } from '../pe/efi-program.js';
import type { LoaderConfig } from './loader-config.js';
import { type MenuEntry, type Note, noting } from './menu-entry.js';

/** What firmware starts from a disk that it knows nothing of. */
export const fallbackLoader = '/EFI/BOOT/BOOTX64.EFI';
/** What a shim there starts. */
const behindShim = '/EFI/BOOT/GRUBX64.EFI';

const programs = [
  { id: 'auto-osx', title: 'macOS', path: '/System/Library/CoreServices/boot.efi' },
  { id: 'auto-windows', title: 'Windows Boot Manager', path: '/EFI/Microsoft/Boot/bootmgfw.efi' },
  { id: 'auto-efi-shell', title: 'EFI Shell', path: '/shellx64.efi' },
  { id: 'auto-efi-default', title: 'EFI Default Loader', path: fallbackLoader },
];

export async function otherLoaders(esp: Volume, config: LoaderConfig, note: Note): Promise<MenuEntry[]> {
  const entries: MenuEntry[] = [];
  if (config.autoEntries) {
    const ownFallback = await startsSystemdBoot(esp, note);
    for (const { id, title, path } of programs) {
      if (path === fallbackLoader && ownFallback) continue;
      const found = await noting(path, note, () => esp.fs.stat(path));
      if (found?.kind === 'file') entries.push(entry(esp, id, title, path, `starts the EFI program ${path}`));
    }
  }
  if (config.autoFirmware) {
    const id = 'auto-reboot-to-firmware-setup';
    entries.push(entry(esp, id, 'Reboot Into Firmware Interface', '/loader', 'there is no firmware to set up'));
  }
  return entries;
}

/** Whether firmware without a boot variable would start systemd-boot. */
export async function startsSystemdBoot(esp: Volume, note: Note): Promise<boolean> {
  for (const path of [fallbackLoader, behindShim]) {
    const program = await noting(path, note, async () => {
      const file = await openFile(esp, path);
      return file && identifyProgram(file);
    });
    if (program === 'systemd-boot') return true;
  }
  return false;
}

function entry({ partition }: Volume, id: string, title: string, path: string, problem: string): MenuEntry {
  return {
    kind: 'efi',
    id,
    fileId: id,
    counter: undefined,
    profile: 0,
    title,
    sortKey: undefined,
    version: undefined,
    machineId: undefined,
    source: { partition, path },
    kernel: undefined,
    initrds: [],
    cmdline: '',
    problem,
    shown: true,
  };
}
