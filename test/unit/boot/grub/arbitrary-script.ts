/** Random GRUB scripts: well-formed ones for comparing with GRUB itself, and soups of its tokens. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${name} is GRUB's own syntax
import fc from 'fast-check';

const names = ['a', 'b', 'c', 'xy', '_z'];
const literals = [
  'foo',
  '1',
  '2',
  '10',
  '0x10',
  'x\\ y',
  'a\\$b',
  "'q q'",
  '"d d"',
  '""',
  "''",
  'c\\d',
  '"e\\\\f"',
  '"g\\"h"',
  '=',
  '!',
  '-n',
  'z=1',
  'k#v',
  '"#"',
  '\\{',
  "'it'\\''s'",
  'a"b"c',
  'fi',
  'then',
  '\\\n',
  '\\n',
];

const name = fc.constantFrom(...names);
const variable = fc
  .tuple(
    fc.constantFrom(...names, '#', '@', '1', '2', '9', '0', 'unset'),
    fc.constantFrom('$N', '${N}', '"$N"', '"p ${N} s"'),
  )
  .map(([which, form]) => form.replace('N', which));
const word = fc
  .array(fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...literals) }, { weight: 1, arbitrary: variable }), {
    minLength: 1,
    maxLength: 3,
  })
  .map((parts) => parts.join(''));
const words = fc.array(word, { maxLength: 3 }).map((list) => list.join(' '));

const operand = fc.oneof(variable, word, fc.constantFrom('"a"', '""', '5', '-3', '10'));
const binary = fc.constantFrom(
  '=',
  '!=',
  '==',
  '-eq',
  '-ne',
  '-lt',
  '-le',
  '-gt',
  '-ge',
  '-plt',
  '-pgt',
  "'<'",
  "'>='",
);
const comparison = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(operand, binary, operand).map((parts) => parts.join(' ')) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('-n', '-z', '!'), operand).map((parts) => parts.join(' ')) },
  { weight: 1, arbitrary: operand },
);
const expression = fc
  .array(fc.tuple(fc.constantFrom('-a', '-o', ''), comparison, fc.boolean()), { minLength: 1, maxLength: 3 })
  .map((terms) =>
    terms.map(([join, term, nested], i) => `${i > 0 ? join : ''} ${nested ? `( ${term} )` : term}`).join(' '),
  );
const condition = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('[ E ]', 'test E', '! [ E ]'), expression)
      .map(([form, e]) => form.replace('E', () => e)),
  },
  { weight: 1, arbitrary: fc.constantFrom('true', 'false', '! true') },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('nosuch', 'f1'), words).map((parts) => parts.join(' ')) },
);

const simple = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constantFrom('echo', 'echo', 'echo -n'), words).map((parts) => parts.join(' ')) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom('set ', ''), name, word).map(([set, to, value]) => `${set}${to}=${value}`),
  },
  { weight: 1, arbitrary: name.map((which) => `unset ${which}`) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('f1', 'f2', 'f3'), words).map((parts) => parts.join(' ')) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'break',
      'continue',
      'break 2',
      'continue 2',
      'return',
      'return 0',
      'return 1',
      'shift',
      'setparams u v w',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'eval "echo ev \\$a"',
      "eval 'set a=evset; echo $a'",
      'if [ $? = 0 ]; then echo Z; else echo NZ; fi',
    ),
  },
  { weight: 1, arbitrary: condition },
);

const { body } = fc.letrec<{ command: string; body: string }>((tie) => ({
  command: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 4, arbitrary: simple },
    {
      weight: 2,
      arbitrary: fc
        .tuple(
          condition,
          tie('body'),
          fc.array(fc.tuple(condition, tie('body')), { maxLength: 2 }),
          fc.option(tie('body')),
        )
        .map(([first, then, elifs, otherwise]) => {
          const more = elifs.map(([test, what]) => `elif ${test}\nthen ${what};\n`).join('');
          return `if ${first}; then\n${then}\n${more}${otherwise === null ? '' : `else\n${otherwise}\n`}fi`;
        }),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(name, words, tie('body'))
        .map(([which, list, what]) => `for ${which} in ${list}; do\n${what}\ndone`),
    },
    {
      weight: 1,
      arbitrary: simple.map(
        (what) => `set i=; while [ "$i" != xxx ]; do set i="x$i"; if [ "$i" = xx ]; then ${what}; fi; echo W $i; done`,
      ),
    },
  ),
  body: fc
    .tuple(fc.array(tie('command'), { minLength: 1, maxLength: 3 }), fc.constantFrom('\n', ';'))
    .map(([commands, separator]) => commands.join(separator)),
}));

const mistakes = [
  'fi',
  'foo ;; bar',
  'echo a } b',
  'echo $ x',
  'then x',
  'for 1 in a; do echo; done',
  'a && b',
  'if true; then\nfi',
];

/** Functions that do not call each other, then statements, now and then a mistake among them. */
export const arbitraryScript: fc.Arbitrary<string> = fc
  .tuple(
    fc.array(simple, { minLength: 3, maxLength: 3 }),
    fc.array(fc.oneof({ weight: 12, arbitrary: body }, { weight: 1, arbitrary: fc.constantFrom(...mistakes) }), {
      minLength: 3,
      maxLength: 8,
    }),
  )
  .map(([bodies, statements]) => {
    const functions = bodies.map(
      (what, i) => `function f${i + 1} {\n echo F${i + 1} "$#" "$@" $@\n${what.replace(/f[123]/g, 'true')}\n}`,
    );
    return `${[...functions, ...statements].join('\n')}\n`;
  });

const tokens = [
  'if',
  'then',
  'elif',
  'else',
  'fi',
  'for',
  'in',
  'do',
  'done',
  'while',
  'until',
  'function',
  'case',
  'select',
  'true',
  'false',
  'a',
  'f',
  '[',
  ']',
  '!',
  '{',
  '}',
  ';',
  '\n',
  '\n',
  ' ',
  '"',
  "'",
  '$a',
  '${a}',
  '$',
  '\\',
  '\\\n',
  '#',
  '&&',
  '|',
  '<',
  '[[',
  'menuentry',
  'submenu',
  'linux /k',
  'initrd /i',
  'set a=$a$a',
  'source $prefix/grub.cfg',
  'configfile $prefix/grub.cfg',
  'eval "$a"',
  'break',
  'continue',
  'return',
  'shift',
  'search --file /k --set',
  'export a',
  'normal',
  'load_env',
  '*',
  '/*/?',
  '(hd0,gpt1)',
  '$@',
  '-o',
  '(',
  ')',
  'test',
  'a=1',
  'exit',
];

/** Anything at all, mostly made of what means something. */
export const tokenSoup: fc.Arbitrary<string> = fc
  .array(
    fc.tuple(
      fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...tokens) }, { weight: 1, arbitrary: fc.string() }),
      fc.constantFrom(' ', ' ', '', '\n', ';'),
    ),
    { maxLength: 120 },
  )
  .map((parts) => parts.flat().join(''));
