/**
 * `manifest.json` as text: JSON for people and programs whose last field is the SHA-256 of all that stands before it. Any
 * thread; pure.
 *
 * It is looked at in an order that trusts nothing: size and depth before it is parsed, the version before the digest, so
 * that another version is named as such whatever its form, and the digest before the content.
 */
import { sha256 } from '../host/digest.js';
import { checkManifest, format, type Manifest, version } from './manifest.js';
import { Mismatch } from './schema.js';

export const largestManifest = 1024 * 1024;
const deepest = 32;

export interface ReadManifest {
  readonly manifest: Manifest;
  /** What stands in its last field, which is right: the manifest's identity. */
  readonly sha256: string;
}

/** The text of a manifest. Throws `Mismatch` for one that could not be read again. */
export function manifestText(manifest: Manifest): string {
  const content = JSON.stringify(manifest, null, 2).slice(0, -'\n}'.length);
  const text = `${content}${tail(sha256(Buffer.from(content)).toString('hex'))}`;
  parseManifest(Buffer.from(text));
  return text;
}

const tail = (digest: string): string => `,\n  "sha256": "${digest}"\n}\n`;
const tailLength = tail('0'.repeat(64)).length;

/** Throws `Mismatch`, of which `OtherVersion` is one. */
export function parseManifest(bytes: Uint8Array): ReadManifest {
  if (bytes.length > largestManifest) throw new Mismatch(`it has ${bytes.length} bytes, more than ${largestManifest}`);
  if (depthOf(bytes) > deepest) throw new Mismatch(`it is nested deeper than ${deepest} levels`);
  const { sha256: said, ...content } = parsed(bytes);
  refuseOthers(content);
  const end = Math.max(0, bytes.length - tailLength);
  const digest = sha256(bytes.subarray(0, end)).toString('hex');
  if (said !== digest || Buffer.from(bytes.subarray(end)).toString('latin1') !== tail(digest))
    throw new Mismatch('its text is not the one that was written: the SHA-256 in it is of another');
  return { manifest: checkManifest(content), sha256: digest };
}

/** A manifest that may be in order, but is not for this program. */
export class OtherVersion extends Mismatch {}

function parsed(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw new Mismatch('it is not JSON'); // what the parser says quotes the text
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Mismatch('it is not an object');
  return value as Readonly<Record<string, unknown>>;
}

function refuseOthers(content: Readonly<Record<string, unknown>>): void {
  if (content['format'] !== format) throw new Mismatch('it is not the manifest of a snapshot of tsvmm');
  const given = content['version'];
  if (given === version) return;
  if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < 0)
    throw new Mismatch('it does not say of which version it is');
  const than = given > version ? 'newer' : 'older';
  throw new OtherVersion(
    `it has the format of version ${given}, which is ${than} than the version ${version} that this tsvmm reads`,
  );
}

/** How deep brackets are nested, outside of strings; no more than a count, so that a deep one costs its parser nothing. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let most = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (inString) {
      if (byte === backslash) i++;
      else if (byte === quotation) inString = false;
    } else if (byte === quotation) inString = true;
    else if (byte === opensList || byte === opensObject) most = Math.max(most, ++depth);
    else if (byte === closesList || byte === closesObject) depth--;
  }
  return most;
}

const quotation = 0x22;
const backslash = 0x5c;
const opensList = 0x5b;
const closesList = 0x5d;
const opensObject = 0x7b;
const closesObject = 0x7d;
