/**
 * The words of a SYSLINUX configuration that decide what is booted. Main thread.
 */

/** What a label loads. `kernel` means that the file's name tells. */
const kernelTypes = [
  'kernel',
  'linux',
  'boot',
  'bss',
  'pxe',
  'fdimage',
  'comboot',
  'com32',
  'config',
  'localboot',
] as const;
export type KernelType = (typeof kernelTypes)[number];

export const isKernelType = (word: string): word is KernelType => kernelTypes.some((type) => type === word);

export const Keywords = {
  append: 'append',
  begin: 'begin',
  default: 'default',
  disable: 'disable',
  disabled: 'disabled',
  end: 'end',
  exit: 'exit',
  goto: 'goto',
  hide: 'hide',
  include: 'include',
  initrd: 'initrd',
  label: 'label',
  onTimeout: 'ontimeout',
  prompt: 'prompt',
  quit: 'quit',
  separator: 'separator',
  start: 'start',
  text: 'text',
  timeout: 'timeout',
  title: 'title',
  ui: 'ui',
} as const;

/** By the end of a file's name, what is no Linux kernel. */
const suffixes: readonly (readonly [RegExp, KernelType])[] = [
  [/\.0$/, 'pxe'],
  [/\.(bin|bs)$/i, 'boot'],
  [/\.bss$/i, 'bss'],
  [/\.(com|cbt)$/i, 'comboot'],
  [/\.c32$/i, 'com32'],
  [/\.img$/i, 'fdimage'],
];

export function typeOf(declared: KernelType, file: string): KernelType {
  if (declared !== 'kernel') return declared;
  return suffixes.find(([suffix]) => suffix.test(file))?.[1] ?? 'linux';
}

/** Why what is not Linux cannot be booted. */
export const otherTypes: Readonly<Record<Exclude<KernelType, 'kernel' | 'linux' | 'com32'>, string>> = {
  boot: 'starts a boot sector, which needs firmware',
  bss: 'starts a boot sector, which needs firmware',
  pxe: 'boots over the network',
  fdimage: 'starts the image of a floppy disk, which needs firmware',
  comboot: 'starts a program of SYSLINUX',
  config: 'goes on with another configuration',
  localboot: 'leaves the disk to the next boot loader (LOCALBOOT)',
};

const modules: readonly (readonly [RegExp, string])[] = [
  [/^(vesa)?menu\.c32$/, 'shows another menu'],
  [/^chain\.c32$/, 'hands over to another boot loader (chain.c32)'],
  [/^mboot\.c32$/, 'loads a Multiboot kernel, not Linux'],
  [/^(reboot|poweroff)\.c32$/, 'switches the machine off or resets it'],
];

/** `file` is the name of a COM32 module. */
export function moduleProblem(file: string): string {
  const name = file.slice(file.lastIndexOf('/') + 1).toLowerCase();
  return modules.find(([pattern]) => pattern.test(name))?.[1] ?? `starts the SYSLINUX module ${name}`;
}

/** A module that shows the configuration's labels as a menu. */
export const isMenuModule = (file: string): boolean => /(^|\/)(vesa)?menu\.c32$/i.test(file);
