/**
 * Runs `tsvmm` with the arguments given, and keeps what V8 compiled of it and of its workers (compile-ahead.js). The same
 * file is the main program and, in a worker, what runs there.
 *
 *   node scripts/rehearsal.js run --kernel FILE
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import workerThreads from 'node:worker_threads';
import { codeHash, compiledFor } from './compile-ahead.js';
import { replaceFile } from './inputs.js';

/** @type {{ script: vm.Script, text: string, file: string }[]} */
const scripts = [];

vm.Script = class extends vm.Script {
  /** @param {string} text @param {{ filename: string }} options */
  constructor(text, options) {
    super(text, options);
    scripts.push({ script: this, text, file: options.filename });
  }
};

function keep() {
  for (const { script, text, file } of scripts) {
    const ending = text.slice(-codeHash('').length);
    const compiled = Buffer.concat([script.createCachedData(), Buffer.from(ending)]);
    replaceFile(file.replace(/js$/, compiledFor), compiled);
  }
}

workerThreads.Worker = class extends workerThreads.Worker {
  /** @param {URL} url @param {import('node:worker_threads').WorkerOptions} options */
  constructor(url, options) {
    super(new URL(import.meta.url), { ...options, argv: ['', fileURLToPath(url)] }); // no cache (build.js)
  }
};

const { parentPort } = workerThreads;
if (parentPort === null) process.once('exit', keep);
else {
  const { postMessage } = parentPort;
  // What it reports when it has started, and when it has done its work; main may end it at once then.
  parentPort.postMessage = (message) => {
    if (['idle', 'stopped', 'ready', 'detached'].includes(message.type)) keep();
    postMessage.call(parentPort, message);
  };
}
const program = parentPort === null ? fileURLToPath(new URL('../dist/cli.cjs', import.meta.url)) : process.argv[3];
createRequire(import.meta.url)(String(program));
