/** What GRUB scripts do. Every expectation here was compared with GRUB 2.06 itself (see oracle.test.ts). */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${name} is GRUB's own syntax
import { describe, expect, test } from 'vitest';
import { linesOf, runScript } from './run-script.js';

describe('words', () => {
  test('unquoted variables are split, quoted ones are not', async () => {
    expect(await linesOf('set a=" x  y "; for i in $a"z" "$a" p${a}q; do echo "<$i>"; done')).toEqual([
      '<x>',
      '<yz>',
      '< x  y >',
      '<px>',
      '<yq>',
    ]);
  });

  test('an unset variable vanishes, an empty quoted word stays', async () => {
    expect(await linesOf('for i in $none "" "$none" a$none; do echo "<$i>"; done')).toEqual(['<>', '<>', '<a>']);
  });

  test('escapes inside and outside quotes', async () => {
    expect(await linesOf(`echo a\\$b "c\\d" c\\d 'e\\f' \\{ "\\"\\\\\\$"`)).toEqual([`a$b c\\d cd e\\f { "\\$`]);
    expect(await linesOf("echo 'it'\\''s' x\\ y\nset c=x\\\\y\necho $c \"$c\"")).toEqual(["it's x y", 'x\\y x\\y']);
  });

  test('a continued line is one line', async () => {
    expect(await linesOf('echo a\\\nb \\\n  c')).toEqual(['ab c']);
  });

  test('the assignment forms', async () => {
    expect(await linesOf('set a=1; b=2; set c="x=y"; set d=; echo $a $b $c "[$d]"; unset a; echo "[$a]"')).toEqual([
      '1 2 x=y []',
      '[]',
    ]);
  });

  test('root loses its parentheses', async () => {
    expect(await linesOf('set root=(hd0,gpt2); echo $root')).toEqual(['hd0,gpt2']);
  });
});

describe('control', () => {
  test('an unknown command counts as success', async () => {
    expect(await linesOf('if nosuch; then echo yes; else echo no; fi; echo $?')).toEqual(['yes', '0']);
  });

  test('negation', async () => {
    expect(await linesOf('! false; echo $?; if ! true; then echo a; else echo b; fi')).toEqual(['0', 'b']);
  });

  test('elif and else', async () => {
    const script = (a: string): string =>
      `set a=${a}\nif [ "$a" = 1 ]; then echo one\nelif [ "$a" = 2 ]; then echo two\nelse echo other; fi`;
    expect(await linesOf(script('1'))).toEqual(['one']);
    expect(await linesOf(script('2'))).toEqual(['two']);
    expect(await linesOf(script('3'))).toEqual(['other']);
  });

  test('loops with break and continue over several levels', async () => {
    const script = `for i in 1 2 3; do
  for j in a b c; do
    if [ $i$j = 1b ]; then continue 2; fi
    if [ $i$j = 3a ]; then break 2; fi
    if [ $j = b ]; then continue; fi
    echo $i$j
  done
done
set n=x; while [ "$n" != xxx ]; do echo $n; set n=x$n; done
until [ "$n" = "" ]; do set n=; echo once; done`;
    expect(await linesOf(script)).toEqual(['1a', '2a', '2c', 'x', 'xx', 'once']);
  });

  test('functions have parameters of their own and return a status', async () => {
    const script = `function f {
  echo $# $1 "$@"; shift; echo $# $1
  if [ "$1" = b ]; then return 1; fi
  echo end
}
f a b; echo $?
f c "d e"; echo $?
setparams x y; echo "[$1]"`;
    expect(await linesOf(script)).toEqual(['2 a a b', '1 b', '1', '2 c c d e', '1 d e', 'end', '0', '[]']);
  });

  test('a break does not reach through a function', async () => {
    expect(await linesOf('function f {\nbreak\necho f\n}\nfor i in 1 2; do f; echo $i; done')).toEqual([
      'f',
      '1',
      'f',
      '2',
    ]);
  });

  test('eval runs its text here', async () => {
    expect(await linesOf(`set a=b; eval "set \${a}=c; echo \\$b"`)).toEqual(['c']);
  });

  test('a syntax error costs its line and is noted with its place', async () => {
    const { output, notes } = await runScript('echo a\nfoo && bar\necho b\n');
    expect(output).toBe('a\nb\n');
    expect(notes).toEqual(["(hd0,gpt1)/boot/grub/grub.cfg:2: '&' is not supported by GRUB; quote it"]);
  });

  test('exit stops everything', async () => {
    const { output, shell } = await runScript('function f {\nexit\necho no\n}\nfor i in 1 2; do f; done; echo no');
    expect(output).toBe('');
    expect(shell.stopped).toBe('exit');
  });
});

describe('files', () => {
  const files = {
    '/a.cfg': 'echo a $config_file $config_directory; set from=a',
    '/boot/extra/1.cfg': 'echo one',
    '/boot/extra/2.cfg': 'echo two',
    '/boot/extra/2.bak': 'echo bad',
    '/boot/empty': '',
    '/boot/link': { link: '/a.cfg' },
  };

  test('source runs in the same context and always succeeds', async () => {
    const script = 'source /a.cfg; echo $from $config_file; . /none.cfg; echo $?';
    expect(await linesOf(script, files)).toEqual([
      'a (hd0,gpt1)/a.cfg (hd0,gpt1)',
      'a (hd0,gpt1)/boot/grub/grub.cfg',
      '0',
    ]);
  });

  test('file tests', async () => {
    const script = `for t in -e -f -d -s; do for f in /a.cfg /boot /boot/ /boot/empty /boot/link /none (hd0,gpt1)/a.cfg (hd0,gpt1)/ (hd9)/a; do
  if [ $t $f ]; then echo -n "1"; else echo -n "0"; fi
done; echo; done`;
    expect(await linesOf(script, files)).toEqual(['111110110', '100110100', '011000010', '100010100']);
  });

  test('wildcards match file names and are text where they match nothing', async () => {
    const script =
      'for f in /boot/extra/*.cfg (hd0,gpt1)/boot/e*/?.cfg "/boot/extra/*.cfg" /boot/*.x *; do echo "$f"; done';
    expect(await linesOf(script, files)).toEqual([
      '/boot/extra/1.cfg',
      '/boot/extra/2.cfg',
      '(hd0,gpt1)/boot/extra/1.cfg',
      '(hd0,gpt1)/boot/extra/2.cfg',
      '/boot/extra/*.cfg',
      '/boot/*.x',
      '*',
    ]);
  });

  test('carriage returns are dropped', async () => {
    expect(await linesOf('set a=1\r\nif [ "$a" = 1 ]; then\r\necho yes\r\nfi\r\n')).toEqual(['yes']);
  });
});

test('what GRUB 2.06 for BIOS sets by itself', async () => {
  const script =
    'echo $grub_platform $grub_cpu $feature_menuentry_id $feature_timeout_style $root $prefix "[$feature_ok]"';
  expect(await linesOf(script)).toEqual(['pc i386 y y hd0,gpt1 (hd0,gpt1)/boot/grub []']);
});
