/**
 * `linux` and `initrd`: what a menu entry would load (GNU GRUB 2.06 manual §16.3.40 "linux", §16.3.32 "initrd"). Main thread.
 */
import type { FileReference } from '../entries/volume.js';

export type Loader =
  | {
      readonly kind: 'linux';
      readonly kernel: FileReference;
      readonly cmdline: string;
      readonly initrds: readonly FileReference[];
      /** The file in which the command stands. */
      readonly source: FileReference;
    }
  /** Something that is not a Linux kernel, and why it cannot be booted here. */
  | { readonly kind: 'other'; readonly reason: string };

/** Commands that load something else. */
export const otherLoaders: Readonly<Record<string, string>> = {
  multiboot: 'loads a Multiboot kernel, not Linux',
  multiboot2: 'loads a Multiboot 2 kernel, not Linux',
  xen_hypervisor: 'starts the Xen hypervisor',
  kfreebsd: 'loads a FreeBSD kernel',
  knetbsd: 'loads a NetBSD kernel',
  kopenbsd: 'loads an OpenBSD kernel',
  xnu_kernel: 'loads a macOS kernel',
  xnu_kernel64: 'loads a macOS kernel',
  ntldr: 'starts Windows, which needs firmware',
  freedos: 'starts FreeDOS, which needs firmware',
  plan9: 'loads a Plan 9 kernel',
  truecrypt: 'starts TrueCrypt, which needs firmware',
  pxechainloader: 'boots over the network',
  legacy_kernel: 'uses the configuration of GRUB Legacy',
};

/** As GRUB quotes an argument for the kernel: quotes and backslashes escaped, in double quotes if it has a space. */
function quoteArgument(argument: string): string {
  const escaped = argument.replace(/[\\'"]/g, '\\$&');
  return argument.includes(' ') ? `"${escaped}"` : escaped;
}

/** The command line that GRUB would pass: `BOOT_IMAGE=` with the kernel's name, then the arguments. */
export const kernelCommandLine = (args: readonly string[]): string => `BOOT_IMAGE=${args.map(quoteArgument).join(' ')}`;
