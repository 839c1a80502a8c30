/**
 * Unified kernel images: a kernel, its initrd and command line as sections of one EFI program (UAPI.5 "Unified Kernel
 * Image"; systemd-stub(7) is its reference). Main thread.
 *
 * The stub and its firmware are not needed: the sections are loaded as the stub would.
 */
import { damaged, kernelError } from '../linux/kernel-error.js';
import { machineX64, type PeFile, type PeSection, type PeSource, readPe } from './pe.js';

/** What is booted of an image: one profile, completed by what stands before the first `.profile` section. */
export interface UkiProfile {
  /** `ID=` and `TITLE=` of its `.profile` section. */
  readonly id: string | undefined;
  readonly title: string | undefined;
  readonly linux: PeSection;
  /** `.ucode`, then `.initrd`: the kernel looks for microcode only in the first. */
  readonly initrds: readonly PeSection[];
  /** As the stub hands it on; undefined if the image has none. */
  readonly cmdline: string | undefined;
  /** os-release(5) of the system. */
  readonly osRelease: ReadonlyMap<string, string> | undefined;
  /** Output of `uname -r`. */
  readonly uname: string | undefined;
  /** Version of the systemd-stub that the image is started by; undefined for another or an unknown one. */
  readonly stub: number | undefined;
}

/** What an addon adds to an image (systemd-stub(7)). */
export interface UkiAddon {
  readonly cmdline: string | undefined;
  readonly ucode: PeSection | undefined;
  readonly initrd: PeSection | undefined;
  /** It is for images of this kernel only. */
  readonly uname: string | undefined;
}

/** Never empty. The first is what boots if no other is asked for. */
export type Uki = readonly [UkiProfile, ...UkiProfile[]];

/** So many profiles are offered. */
const maxProfiles = 64;
/** Of each text: a kernel takes 2047 bytes of command line, and an os-release has some hundred. */
const textLimit = 16 * 1024;
/** Text sections lie among the headers and kernels of an image, which all are less. */
const maxTextOffset = 2 ** 31;
/** An os-release has about twenty. */
const maxKeys = 64;
/** What is used here; systemd-stub takes the first of a name in each profile. */
const used = ['.linux', '.initrd', '.ucode', '.cmdline', '.osrel', '.uname'] as const;
type Used = (typeof used)[number];
type Sections = Partial<Record<Used, PeSection>>;

interface Part {
  readonly profile: PeSection | undefined;
  readonly sections: Sections;
}

/**
 * The profiles of an image; undefined if `file` is no PE file or one without a `.linux` section. Rejects with
 * `ERR_TSVMM_BOOT_KERNEL` if it is damaged or made for another processor.
 */
export async function readUki(file: PeSource): Promise<Uki | undefined> {
  const pe = await readPe(file);
  if (pe === undefined) return undefined;
  const [base, ...parts] = splitProfiles(pe.sections);
  if (![base, ...parts].some(({ sections }) => sections['.linux'] !== undefined)) return undefined;
  if (pe.machine !== machineX64) {
    throw kernelError(
      `the unified kernel image is built for another processor (PE machine 0x${pe.machine.toString(16)})`,
      'use an image built for x86-64',
    );
  }
  refuseOverlaps(pe.sections);
  const texts = new Texts(file);
  const stub = await stubVersion(file, pe);
  const profiles: UkiProfile[] = [];
  for (const { profile, sections } of parts.length === 0 ? [base] : parts.slice(0, maxProfiles)) {
    const all = { ...base.sections, ...sections };
    const linux = all['.linux'];
    if (linux === undefined || linux.size === 0) continue;
    const about = keyValues(await texts.read(profile));
    const cmdline = await texts.read(all['.cmdline']);
    const osRelease = await texts.read(all['.osrel']);
    const uname = await texts.read(all['.uname']);
    profiles.push({
      id: about.get('ID'),
      title: about.get('TITLE'),
      linux,
      initrds: [all['.ucode'], all['.initrd']].filter(isContent),
      cmdline: cmdline === undefined ? undefined : tidyCommandLine(cmdline),
      osRelease: osRelease === undefined ? undefined : keyValues(osRelease),
      uname: uname?.trim(),
      stub,
    });
  }
  const [first, ...others] = profiles;
  if (first === undefined) throw damaged('the .linux section of the unified kernel image is empty');
  return [first, ...others];
}

/** systemd-stub writes there who it is. */
const magicSection = '.sdmagic';
const magic = /^#### LoaderInfo: systemd-stub ([0-9]{1,5})/;
const magicLimit = 256;

async function stubVersion(file: PeSource, { sections }: PeFile): Promise<number | undefined> {
  const about = sections.find(({ name }) => name === magicSection);
  if (about === undefined) return undefined;
  const text = (await file.read(about.offset, Math.min(about.size, magicLimit))).toString('latin1');
  const version = magic.exec(text)?.[1];
  return version === undefined ? undefined : Number(version);
}

/**
 * The sections of an addon; undefined if `file` is none: no PE file for this processor, or one with a kernel. Rejects with
 * `ERR_TSVMM_BOOT_KERNEL` if it is damaged.
 */
export async function readAddon(file: PeSource): Promise<UkiAddon | undefined> {
  const pe = await readPe(file);
  if (pe === undefined || pe.machine !== machineX64) return undefined;
  const [{ sections }] = splitProfiles(pe.sections);
  if (sections['.linux'] !== undefined) return undefined;
  refuseOverlaps(pe.sections);
  const texts = new Texts(file);
  const cmdline = await texts.read(sections['.cmdline']);
  const uname = await texts.read(sections['.uname']);
  return {
    cmdline: cmdline === undefined ? undefined : tidyCommandLine(cmdline),
    ucode: [sections['.ucode']].find(isContent),
    initrd: [sections['.initrd']].find(isContent),
    uname: uname?.trim(),
  };
}

const isContent = (section: PeSection | undefined): section is PeSection => (section?.size ?? 0) > 0;

/** The base profile and those that `.profile` sections begin. */
function splitProfiles(sections: readonly PeSection[]): [Part, ...Part[]] {
  const parts: [Part, ...Part[]] = [{ profile: undefined, sections: {} }];
  for (const section of sections) {
    if (section.name === '.profile') parts.push({ profile: section, sections: {} });
    const known = used.find((name) => name === section.name);
    const current: Sections = (parts.at(-1) ?? parts[0]).sections;
    if (known !== undefined) current[known] ??= section;
  }
  return parts;
}

/** Two sections that share bytes would let a signed name stand for other content; no tool makes them. */
function refuseOverlaps(sections: readonly PeSection[]): void {
  const names: readonly string[] = used;
  const known = sections.filter(({ name, size }) => names.includes(name) && size > 0);
  known.sort((a, b) => a.offset - b.offset);
  let before: PeSection | undefined;
  for (const section of known) {
    if (before !== undefined && before.offset + before.size > section.offset)
      throw damaged(`the sections ${before.name} and ${section.name} of the unified kernel image overlap`);
    before = section;
  }
}

/** Reads text sections, each once: profiles share those of the base. */
class Texts {
  readonly #file: PeSource;
  readonly #known = new Map<PeSection, string>();

  constructor(file: PeSource) {
    this.#file = file;
  }

  async read(section: PeSection | undefined): Promise<string | undefined> {
    if (section === undefined) return undefined;
    const known = this.#known.get(section);
    if (known !== undefined) return known;
    if (section.size > textLimit || section.offset > maxTextOffset)
      throw damaged(`its section ${section.name} has ${section.size} bytes at ${section.offset}`);
    const text = (await this.#file.read(section.offset, section.size)).toString('utf8').replace(/\0.*$/s, '');
    this.#known.set(section, text);
    return text;
  }
}

/** systemd-stub: control characters are spaces, none at either end. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it is about
const tidyCommandLine = (text: string): string => text.replace(/[\u0000-\u0020\u007f]/g, ' ').trim();

/** Lines `KEY=value`, the value perhaps in quotes (os-release(5)). */
export function keyValues(text = ''): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split(/[\r\n]+/)) {
    const match = /^([A-Za-z0-9_]+)=(.*)$/.exec(line.trim());
    if (match?.[1] === undefined) continue;
    const value = match[2] ?? '';
    if (values.size === maxKeys) break;
    const quoted = /^(["'])(.*)\1$/.exec(value);
    values.set(match[1], quoted?.[2] ?? value);
  }
  return values;
}
