/** The version of this package, as the command tells it. */
export { packageVersion as version } from '../host/package-version.js';
