import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isMachineName, parseMachineName } from '../../../../src/cli/control/machine-name.js';
import { normalize } from '../../../../src/machine/options.js';

describe('a machine’s name', () => {
  it.each(['a', 'web', 'Web-1', '0', 'a.b_c-d', 'x'.repeat(64), 'a..b'])('%s', (name) => {
    expect(isMachineName(name)).toBe(true);
    expect(parseMachineName(name, '--name')).toBe(name);
  });

  it.each(['', '.', '..', '.web', '-web', '--help', 'a/b', 'a b', 'ä', 'web\n', '\nweb', 'a\0', 'x'.repeat(65)])(
    'is not %j',
    (text) => {
      expect(isMachineName(text)).toBe(false);
      expect(() => parseMachineName(text, '--name')).toThrow(/^--name: .* cannot be a name$/);
    },
  );

  it('is one that the library takes', () => {
    const isTaken = (name: string): boolean => {
      try {
        normalize({ name, boot: { kernel: 'k' } });
        return true;
      } catch {
        return false;
      }
    };
    const text = fc.oneof(fc.stringMatching(/^[-A-Za-z0-9._/ ]{0,70}$/), fc.string());
    fc.assert(fc.property(text, (name) => isMachineName(name) === isTaken(name)));
  });
});
