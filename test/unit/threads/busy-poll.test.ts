import { expect, test } from 'vitest';
import { BusyPoll } from '../../../src/threads/busy-poll.js';

/** A clock that a test moves. */
class Hands {
  us = 1_000_000;
  glances = 0;
  stamp = (into: Float64Array, index: number): void => {
    this.glances++;
    into[index] = this.us;
  };
  expire = () => {};
}

function setUp(processors = 2) {
  const clock = new Hands();
  const poll = new BusyPoll(clock, processors);
  /** A sleep of so many microseconds. */
  const sleep = (us: number) => {
    poll.falls();
    clock.us += us;
    poll.wakes();
  };
  /** How long it looks, a glance at the clock every so many microseconds. */
  const look = (step = 1) => {
    const begun = clock.us;
    poll.begin();
    do clock.us += step;
    while (poll.goesOn());
    return clock.us - begun;
  };
  return { clock, poll, sleep, look };
}

test('it does not look before sleeps were short', () => {
  const { poll, sleep } = setUp();
  expect(poll.isOn).toBe(false);
  sleep(1000);
  expect(poll.isOn).toBe(false);
});

test('the window doubles with each short sleep up to its bound, and halves with each long one down to nothing', () => {
  const { poll, sleep, look } = setUp();
  const windows: number[] = [];
  for (let i = 0; i < 6; i++) {
    sleep(20);
    windows.push(look());
  }
  expect(windows).toEqual([8, 16, 32, 64, 64, 64]);
  const shrinking: number[] = [];
  for (let i = 0; i < 4; i++) {
    sleep(1000);
    shrinking.push(poll.isOn ? look() : 0);
  }
  expect(shrinking).toEqual([32, 16, 8, 0]);
});

test('where another thread had the processor it does not look for a while', () => {
  const { clock, poll, sleep, look } = setUp();
  for (let i = 0; i < 4; i++) sleep(20);
  expect(look(3000)).toBe(3000);
  expect(poll.isOn).toBe(false);
  sleep(20);
  expect(poll.isOn).toBe(false);
  clock.us += 10_000;
  sleep(20);
  expect(poll.isOn).toBe(true);
});

test('on one processor it never looks, nor at the clock', () => {
  const { clock, poll, sleep } = setUp(1);
  for (let i = 0; i < 4; i++) sleep(20);
  expect(poll.isOn).toBe(false);
  expect(clock.glances).toBe(0);
});
