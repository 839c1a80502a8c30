// Forks a machine whose guest has no driver for anything; prints how many threads that took.
import { readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { VirtualMachine } from 'tsvmm';

const nameOf = (id) => readFileSync(`/proc/self/task/${id}/comm`, 'latin1');
const threads = () => readdirSync('/proc/self/task').filter((id) => !nameOf(id).startsWith('kvm-')).length; // KVM has some too
const vm = await VirtualMachine.start({ memory: '32M', boot: { kernel: process.argv[2] } });
await vm.console.waitFor('sleeping');
await Promise.all(Array.from({ length: 16 }, () => stat('/'))); // libuv's are there
const before = threads();
const fork = await vm.fork();
console.log(threads() - before);
await fork.kill();
await vm.kill();
