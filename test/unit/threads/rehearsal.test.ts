import { expect, test } from 'vitest';
import { rehearse } from '../../../src/threads/rehearsal.js';

test('the machine of the rehearsal asks for nothing that there is', () => {
  // There is no descriptor -1, and no memory: whatever the code of the registers does, it can be done again and again.
  for (let i = 0; i < 3; i++) expect(rehearse()).toBeUndefined();
});
