/** Types of npm-tools.js for TypeScript programs (the tests). */

export type NpmTools = 'runtimes' | 'consumers' | 'arm64';

/** Where `ensureNpmTools` puts them: a node_modules folder. */
export function npmToolsFolder(name: NpmTools): string;

/** Installs them if they are not there; nothing of them runs. */
export function ensureNpmTools(name: NpmTools): Promise<string>;
