/**
 * GRUB's variables (GNU GRUB 2.06 manual §15 "GRUB environment variables"). Main thread.
 *
 * A submenu and `configfile` open a new context that sees only what was exported; a menu entry runs in its menu's.
 * Sizes are limited: `set a="$a$a"` in a loop must not fill the host's memory.
 */
import { type Budget, grubLimits } from './budget.js';

interface Variable {
  value: string;
  exported: boolean;
}

/** Set by GRUB 2.06's normal mode and never changed by it. */
const features = [
  'feature_chainloader_bpb',
  'feature_ntldr',
  'feature_platform_search_hint',
  'feature_default_font_path',
  'feature_all_video_module',
  'feature_menuentry_id',
  'feature_menuentry_options',
  'feature_200_final',
  'feature_nativedisk_cmd',
  'feature_timeout_style',
];

export class Environment {
  readonly #variables: Map<string, Variable>;
  readonly #budget: Budget;

  private constructor(budget: Budget, variables: Map<string, Variable>) {
    this.#budget = budget;
    this.#variables = variables;
  }

  /** What GRUB 2.06 for BIOS sets before it reads a configuration. `root` is a device name, `prefix` a directory. */
  static initial(budget: Budget, root: string, prefix: string): Environment {
    const environment = new Environment(budget, new Map());
    const exported = { root, prefix, cmdpath: prefix, grub_cpu: 'i386', grub_platform: 'pc', lang: '', pager: '' };
    for (const [name, value] of Object.entries(exported)) environment.#put(name, value, true);
    for (const name of features) environment.#put(name, 'y', true);
    environment.#put('color_normal', 'light-gray/black', true);
    environment.#put('color_highlight', 'black/light-gray', true);
    return environment;
  }

  get(name: string): string | undefined {
    return this.#variables.get(name)?.value;
  }

  set(name: string, value: string): void {
    // GRUB's write hook of `root` accepts a device in parentheses.
    if (name === 'root' && value.startsWith('(') && value.endsWith(')')) value = value.slice(1, -1);
    this.#put(name, value, this.#variables.get(name)?.exported ?? false);
  }

  unset(name: string): void {
    this.#variables.delete(name);
  }

  export(name: string): void {
    this.#put(name, this.get(name) ?? '', true);
  }

  /** The same variables, independent from now on. */
  copy(): Environment {
    return this.#filtered(() => true);
  }

  /** A new context: the exported variables only. */
  open(): Environment {
    return this.#filtered((variable) => variable.exported);
  }

  #filtered(keep: (variable: Variable) => boolean): Environment {
    const variables = new Map<string, Variable>();
    for (const [name, variable] of this.#variables) if (keep(variable)) variables.set(name, { ...variable });
    return new Environment(this.#budget, variables);
  }

  #put(name: string, value: string, exported: boolean): void {
    if (value.length > grubLimits.valueLength || name.length > grubLimits.valueLength) {
      throw this.#budget.exceeded(`sets a variable longer than ${grubLimits.valueLength} characters`);
    }
    this.#variables.set(name, { value, exported });
    if (this.#variables.size > grubLimits.variables) {
      throw this.#budget.exceeded(`sets more than ${grubLimits.variables} variables`);
    }
  }
}
