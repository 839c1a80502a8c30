/** The grammar of GRUB scripts: what is accepted, what is refused, and how reading goes on. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${name} is GRUB's own syntax
import { describe, expect, test } from 'vitest';
import { Budget } from '../../../../src/boot/grub/budget.js';
import { Parser } from '../../../../src/boot/grub/parser.js';
import type { Statement } from '../../../../src/boot/grub/syntax.js';

function parse(text: string): Statement[] {
  const parser = new Parser(text, new Budget());
  const statements: Statement[] = [];
  for (let statement = parser.next(); statement !== undefined; statement = parser.next()) statements.push(statement);
  return statements;
}

const kinds = (text: string): string[] => parse(text).map(({ kind }) => kind);
const errors = (text: string): string[] =>
  parse(text).flatMap((statement) => (statement.kind === 'error' ? [`${statement.line}: ${statement.message}`] : []));

describe('accepted', () => {
  test.each([
    ['words of the grammar as arguments', 'echo if then fi else done { }'.replace(' { }', '')],
    ['a comment at the end of a line', 'echo a # b } {\n'],
    ['a block on one line', 'menuentry a { true }'],
    ['a block with a semicolon before its end', 'menuentry a { true; }'],
    ['nested blocks', 'submenu a {\n menuentry b {\n  true\n }\n}\n'],
    ['if on one line', 'if [ x = y ]; then true; elif false; then false; else true; fi'],
    ['then on its own line', 'if true\nthen\ntrue\nfi'],
    ['for without words', 'for a in ; do true; done'],
    ['while and until', 'while false; do true; done; until true; do false; done'],
    ['a function with its brace on the next line', 'function f\n{\ntrue\n}\n'],
    ['a line continued', 'echo a \\\n  b'],
    ['quotes over several lines', 'echo "a\nb" \'c\nd\'\ntrue'],
    ['braces in quotes', 'echo \'{\' "}" \\{'],
    ['every form of a variable', 'echo $a ${a} $1 ${12} $? $# $@ $* ${@}x"$a"'],
    ['a translatable string with a lone dollar', 'echo $"costs 5 $ $a"'],
    ['a hash inside a word', 'echo a#b'],
    ['no newline at the end', 'true'],
    ['nothing', '\n\n# only a comment'],
  ])('%s', (_, text) => expect(errors(text)).toEqual([]));
});

describe('refused, as GRUB refuses it', () => {
  test.each([
    ['an empty block', 'menuentry a { }', '1: expected a command, found }'],
    ['an empty branch', 'if true; then\nfi', '2: expected a command, found fi'],
    ['a doubled semicolon', 'true;; true', "1: ';;' is not supported by GRUB"],
    ['two semicolons', 'true; ; true', '1: expected a command, found ;'],
    ['and', 'true && true', "1: '&' is not supported by GRUB; quote it"],
    ['a pipe', 'ls | cat', "1: '|' is not supported by GRUB; quote it"],
    ['a redirection', 'echo a > b', "1: '>' is not supported by GRUB; quote it"],
    ['double brackets', 'if [[ a = b ]]; then true; fi', "1: '[[' is not supported by GRUB"],
    ['a lone dollar', 'echo $ a', "1: '$' is not followed by a variable name; quote it"],
    ['a lone dollar in double quotes', 'echo "5 $"', "1: '$' in double quotes is not followed by a variable name"],
    ['then without if', 'then true', '1: expected a command, found then'],
    ['an end without its beginning', 'true\n}', '2: expected a command, found }'],
    ['a variable name that is none', 'for 1 in a; do true; done', '1: expected a name, found a word'],
    ['a function inside a block', 'menuentry a {\nfunction f { true; }\n}', '2: expected a command, found function'],
    ['a function without a delimiter before its end', 'function f { true }', "1: expected ';' or a new line, found }"],
  ])('%s', (_, text, error) => expect(errors(text)[0]).toBe(error));

  test('an unclosed quote takes the rest of the file with it', () => {
    expect(parse('true\necho "a\ntrue\ntrue')).toMatchObject([
      { kind: 'command' },
      { kind: 'error', message: 'a double quote is never closed' },
    ]);
    expect(kinds("echo 'a\ntrue\n")).toEqual(['error']);
  });

  test('an unclosed block is an error at the end', () => {
    expect(errors('menuentry a {\ntrue\n')).toEqual(["3: expected '}', found the end of the file"]);
  });
});

test('reading goes on with the line after a mistake', () => {
  expect(kinds('true\nfoo && bar; baz\nfalse\n')).toEqual(['command', 'error', 'command']);
  expect(kinds('if true; then\nfi\nfalse\n')).toEqual(['error', 'command']);
  expect(parse('true }\nfalse')).toMatchObject([
    { kind: 'error', line: 1 },
    { kind: 'command', line: 2 },
  ]);
});

test('lines are counted through quotes, continuations and comments', () => {
  expect(parse('echo "a\nb" \\\n c # d\n\'e\nf\' $"g\nh"\n# i\nlast')).toMatchObject([
    { line: 1 },
    { line: 4 },
    { line: 8 },
  ]);
});

test('a function and an if chain have the shape that the interpreter runs', () => {
  expect(parse('function f {\n a b\n}\nif a; then b; elif c; then d; else e; fi')).toMatchObject([
    { kind: 'function', name: 'f', body: [{ kind: 'command', words: [[{ value: 'a' }], [{ value: 'b' }]] }] },
    {
      kind: 'if',
      branches: [
        { condition: [{ kind: 'command' }], body: [{ kind: 'command' }] },
        { condition: [{}], body: [{}] },
      ],
      otherwise: [{ kind: 'command' }],
    },
  ]);
});
