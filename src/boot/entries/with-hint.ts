/** An error as one line among others: what went wrong and, in parentheses, what to do about it. Main thread. */
import type { TsvmmError } from '../../errors.js';

export const withHint = ({ message, hint }: TsvmmError): string =>
  hint === undefined ? message : `${message} (${hint})`;
