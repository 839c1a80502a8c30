/**
 * Shell completion: scripts for bash, zsh and fish, written from the commands and options that the program has. Main thread.
 *
 * What a script knows it completes by itself; for what only this machine or a disk knows it calls `tsvmm __complete`
 * (complete.ts). Nothing is completed after `--`.
 */
export interface CompletedOption {
  readonly long: string;
  readonly short?: string | undefined;
  /** The placeholder of its value, such as FILE or pci|mmio; absent for a switch. */
  readonly value?: string | undefined;
  readonly text: string;
}

export interface CompletedCommand {
  /** 'image inspect'; '' for the program itself. */
  readonly path: string;
  readonly text: string;
  readonly options: readonly CompletedOption[];
  /** Words that may follow: its subcommands, or the choices of its argument. */
  readonly words: readonly (readonly [word: string, text: string])[];
  /** Its argument is a file. */
  readonly files: boolean;
  /** Its argument is the name of a machine. */
  readonly machines: boolean;
  /** Its second argument is a file. */
  readonly filesBehind: boolean;
}

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** How a value is completed, by its placeholder: one answer of a shell's four. */
function forValue<T>(
  placeholder: string,
  answers: { choices(words: string): T; asked(kind: 'cpu' | 'entry'): T; files: T; free: T },
): T {
  if (/^[a-z0-9-]+(\|[a-z0-9-]+)+$/.test(placeholder)) return answers.choices(placeholder.replaceAll('|', ' '));
  if (placeholder.startsWith('FILE')) return answers.files;
  if (placeholder.startsWith('MODEL')) return answers.asked('cpu');
  return placeholder === 'N|TITLE' ? answers.asked('entry') : answers.free;
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const optionWords = ({ options }: CompletedCommand): string =>
  options.flatMap(({ long, short }) => [`--${long}`, ...(short ? [`-${short}`] : [])]).join(' ');

export function completionScript(shell: Shell, commands: readonly CompletedCommand[]): string {
  return { bash, zsh, fish }[shell](commands);
}

/** https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html; `--option=value` arrives as three words. */
function bash(commands: readonly CompletedCommand[]): string {
  const groups = commands.filter(
    ({ path }) => commands.some((other) => other.path.startsWith(`${path} `)) && path !== '',
  );
  const values = (command: CompletedCommand): string[] =>
    command.options.flatMap(({ long, short, value }) => {
      if (value === undefined) return [];
      const action = forValue(value, {
        choices: (words) => `_tsvmm_words ${quote(words)}`,
        asked: (kind) => `_tsvmm_ask ${kind}`,
        files: '_tsvmm_files',
        free: ':',
      });
      return [`        --${long}${short ? `|-${short}` : ''}) ${action}; return ;;`];
    });
  const caseOf = (pattern: string, command: CompletedCommand, offered: readonly string[]): string[] => [
    `    ${pattern})`,
    ...(values(command).length > 0 ? ['      case $previous in', ...values(command), '      esac'] : []),
    `      if [[ $current == -* ]]; then _tsvmm_words ${quote(optionWords(command))}`,
    ...(offered.length > 0 ? [`      else ${offered.join('; ')}`] : []),
    '      fi ;;',
  ];
  const cases = commands.flatMap((command) =>
    caseOf(quote(command.path), command, [
      ...(command.words.length > 0 ? [`_tsvmm_words ${quote(command.words.map(([word]) => word).join(' '))}`] : []),
      ...(command.files ? ['_tsvmm_files'] : []),
      ...(command.machines ? ['_tsvmm_ask machine'] : []),
    ]),
  );
  // Behind a word that is no command of its group: the name of a machine.
  for (const command of groups)
    if (command.filesBehind) cases.push(...caseOf(`${quote(`${command.path} `)}*`, command, ['_tsvmm_files']));
  return `# bash completion for tsvmm; in ~/.bashrc: source <(tsvmm completion bash)
_tsvmm_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }
_tsvmm_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$current")
}
_tsvmm_ask() {
  local line
  while IFS= read -r line; do
    [[ $line == "$current"* ]] && COMPREPLY+=("$(printf %q "$line")")
  done < <("\${COMP_WORDS[0]}" __complete "$1" "$current" "\${COMP_WORDS[@]:1}" 2>/dev/null)
}
_tsvmm() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= i
  COMPREPLY=()
  if [[ $current == = ]]; then current=
  elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do [[ \${COMP_WORDS[i]} == -- ]] && return; done
  ((COMP_CWORD > 1)) && path=\${COMP_WORDS[1]}
  case $path in
    ${groups.map(({ path }) => path).join('|') || '-'}) ((COMP_CWORD > 2)) && path="$path \${COMP_WORDS[2]}" ;;
  esac
  case $path in
${cases.join('\n')}
  esac
}
complete -F _tsvmm tsvmm
`;
}

/** https://zsh.sourceforge.io/Doc/Release/Completion-System.html */
function zsh(commands: readonly CompletedCommand[]): string {
  const inBrackets = (text: string): string => text.replace(/[\\[\]:]/g, '\\$&');
  const described = (words: CompletedCommand['words']): string =>
    words.map(([word, text]) => quote(`${word}:${text.replaceAll(':', '\\:')}`)).join(' ');
  const action = (placeholder: string): string => {
    const name = inBrackets(placeholder);
    return forValue(placeholder, {
      choices: (words) => `:${name}:(${words})`,
      asked: (kind) => `:${name}:{_tsvmm_ask ${kind}}`,
      files: `:${name}:_files`,
      free: `:${name}: `,
    });
  };
  const specs = ({ options, words, files, machines, filesBehind }: CompletedCommand, first: boolean): string[] => [
    ...options.flatMap(({ long, short, value, text }) => {
      const rest = `[${inBrackets(text)}]${value === undefined ? '' : action(value)}`;
      const names = [
        `--${long}${value === undefined ? '' : '='}`,
        ...(short ? [`-${short}${value === undefined ? '' : '+'}`] : []),
      ];
      return names.map((name) => quote(`*${name}${rest}`));
    }),
    ...(files ? [quote('*:file:_files')] : []),
    ...(machines && words.length === 0 ? [quote('1:machine:{_tsvmm_ask machine}')] : []),
    ...(filesBehind && words.length === 0 ? [quote('2:file:_files')] : []),
    ...(words.length > 0 && first ? [quote('1: :->words'), quote('*:: :->rest')] : []),
  ];
  const functionOf = (path: string): string => `_tsvmm${path === '' ? '' : `_${path.replaceAll(' ', '_')}`}`;
  const children = (path: string): CompletedCommand[] =>
    commands.filter((other) => other.path !== '' && other.path.split(' ').slice(0, -1).join(' ') === path);
  const functions = commands.map((command) => {
    const below = children(command.path);
    return `${functionOf(command.path)}() {
  local state line
  local -a words_here
  _arguments -C -s \\
${specs(command, true)
  .map((spec) => `    ${spec}`)
  .join(' \\\n')}
  case $state in
    words) words_here=(${described(command.words)}); _describe -t commands 'word' words_here${command.machines ? '; _tsvmm_ask machine' : ''} ;;
    rest) case $line[1] in
${below.map(({ path }) => `      ${path.split(' ').at(-1)}) ${functionOf(path)} ;;`).join('\n')}
      *) ${command.filesBehind ? '_files' : ''};;
    esac ;;
  esac
}`;
  });
  return `#compdef tsvmm
# zsh completion for tsvmm; in ~/.zshrc after compinit: source <(tsvmm completion zsh)
_tsvmm_ask() {
  local -a found
  found=("\${(@f)$(_call_program tsvmm tsvmm __complete $1 \${(q)PREFIX} \${(q)words} 2>/dev/null)}")
  compadd -- $found
}
${functions.join('\n')}
if [[ $funcstack[1] == _tsvmm ]]; then _tsvmm "$@"; else compdef _tsvmm tsvmm; fi
`;
}

/** https://fishshell.com/docs/current/completions.html */
function fish(commands: readonly CompletedCommand[]): string {
  const inQuotes = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const ask = (kind: string): string =>
    `(tsvmm __complete ${kind} (commandline -ct) (commandline -opc)[2..-1] 2>/dev/null)`;
  const lines = commands.flatMap((command) => {
    const at = `-n ${inQuotes(`__tsvmm_at ${command.path}`.trim())}`;
    return [
      ...command.words.map(([word, text]) => `complete -c tsvmm ${at} -f -a ${inQuotes(word)} -d ${inQuotes(text)}`),
      ...(command.files ? [`complete -c tsvmm ${at} -F`] : []),
      ...(command.filesBehind ? [`complete -c tsvmm -n ${inQuotes(`__tsvmm_behind ${command.path}`)} -F`] : []),
      ...(command.machines ? [`complete -c tsvmm ${at} -f -a ${inQuotes(ask('machine'))}`] : []),
      ...command.options.map(({ long, short, value, text }) => {
        const argument =
          value === undefined
            ? '-f'
            : forValue(value, {
                choices: (words) => `-x -a ${inQuotes(words)}`,
                asked: (kind) => `-x -a ${inQuotes(ask(kind))}`,
                files: '-r -F',
                free: '-x',
              });
        return `complete -c tsvmm ${at} -l ${long}${short ? ` -s ${short}` : ''} ${argument} -d ${inQuotes(text)}`;
      }),
    ];
  });
  const groups = commands.filter(
    ({ path, words }) => path !== '' && commands.some((other) => other.path.startsWith(`${path} `)) && words.length > 0,
  );
  return `# fish completion for tsvmm; in config.fish: tsvmm completion fish | source
function __tsvmm_at
  set -l typed (commandline -opc)[2..-1]
  set -l path $typed[1]
  contains -- "$path" ${groups.map(({ path }) => path).join(' ') || '-'}; and test (count $typed) -gt 1; and set path $typed[1..2]
  test "$path" = "$argv"
end
function __tsvmm_behind
  set -l typed (commandline -opc)[2..-1]
  test "$typed[1]" = "$argv"; and test (count $typed) -gt 1
end
complete -c tsvmm -f
${lines.join('\n')}
`;
}
