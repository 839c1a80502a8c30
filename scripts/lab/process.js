/** Runs a program to its end and turns a failure into one readable error. */
import { spawn } from 'node:child_process';
import { LabError, toolEnvironment } from './tools.js';

/** How much of a failed program's output an error shows. */
const ERROR_OUTPUT = 4000;

/**
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, input?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<string>} its standard output
 */
export function runTool(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...toolEnvironment(), ...options.env },
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    /** @type {Buffer[]} */
    const stdout = [];
    let stderr = '';
    child.stdout?.on('data', (/** @type {Buffer} */ chunk) => stdout.push(chunk));
    child.stderr?.on('data', (/** @type {Buffer} */ chunk) => {
      stderr = (stderr + chunk.toString()).slice(-ERROR_OUTPUT);
    });
    child.on('error', (error) => reject(new LabError(`cannot run ${program}: ${error.message}`, { cause: error })));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(Buffer.concat(stdout).toString());
      const how = signal === null ? `exit code ${code}` : signal;
      reject(new LabError(`${program} ${args.join(' ')} failed (${how}):\n${stderr.trim()}`));
    });
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => {}).end(options.input);
  });
}

/** @param {string} word @returns {string} it as one word of a shell command */
export const shellQuote = (word) => `'${word.replaceAll("'", `'\\''`)}'`;
