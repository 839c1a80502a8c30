/**
 * Options of GRUB commands: `--name`, `--name=value`, `--name value`, `-s` (GNU GRUB 2.06 `lib/arg.c`; the manual gives
 * the options of each command in §16.3). Main thread.
 */
export interface OptionSpec {
  readonly short?: string;
  /** `optional`: a value only as `--name=value` or as a next argument that is no option. */
  readonly value?: 'none' | 'required' | 'optional';
}

export interface ParsedOptions {
  /** Values of each option given, in order; an option without a value adds an empty string. */
  readonly options: ReadonlyMap<string, readonly string[]>;
  readonly rest: readonly string[];
}

/** Undefined if an option lacks its value or is unknown where `acceptUnknown` is not set. */
export function parseOptions(
  args: readonly string[],
  specs: Readonly<Record<string, OptionSpec>>,
  acceptUnknown = false,
): ParsedOptions | undefined {
  const options = new Map<string, string[]>();
  const rest: string[] = [];
  const byShort = new Map<string, string>();
  for (const [name, { short }] of Object.entries(specs)) if (short !== undefined) byShort.set(short, name);
  const add = (name: string, value: string): void => {
    const values = options.get(name);
    if (values === undefined) options.set(name, [value]);
    else values.push(value);
  };

  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? '';
    let name: string | undefined;
    let value: string | undefined;
    if (arg === '--') {
      rest.push(...args.slice(at + 1));
      break;
    } else if (arg.startsWith('--')) {
      const equals = arg.indexOf('=');
      name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
      if (equals >= 0) value = arg.slice(equals + 1);
    } else if (arg.startsWith('-') && arg.length > 1) {
      const letters = [...arg.slice(1)];
      const names = letters.map((letter) => byShort.get(letter));
      if (names.every((known) => known !== undefined)) {
        for (const known of names.slice(0, -1)) add(known ?? '', '');
        name = names.at(-1);
      }
    } else {
      rest.push(arg);
      continue;
    }

    const spec = name !== undefined && Object.hasOwn(specs, name) ? specs[name] : undefined;
    if (name === undefined || spec === undefined) {
      if (!acceptUnknown) return undefined;
      rest.push(arg);
      continue;
    }
    const takes = spec.value ?? 'none';
    const following = args[at + 1];
    if (takes !== 'none' && value === undefined && following !== undefined && !following.startsWith('-')) {
      value = following;
      at++;
    }
    if (takes === 'none' ? value !== undefined : takes === 'required' && value === undefined) return undefined;
    add(name, value ?? '');
  }
  return { options, rest };
}
