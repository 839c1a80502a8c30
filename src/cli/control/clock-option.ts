/** `--clock`, of each command that lets a machine go on. Main thread; pure. */
import { type ClockPolicy, clockPolicies } from '../../kvm/clock-save.js';
import { parseChoice } from '../values.js';

export const clockOption = {
  name: 'clock',
  value: 'catch-up|keep',
  text: 'catch-up: the guest finds that time has passed; keep: its clocks go on from where they were',
  default: 'catch-up',
} as const;

/** The field that it is; throws `ERR_TSVMM_CONFIG` for what is no such word. */
export const parseClock = (text: string | boolean | undefined): { clock?: ClockPolicy } =>
  typeof text === 'string' ? { clock: parseChoice(text, '--clock', clockPolicies) } : {};
