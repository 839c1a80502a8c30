/** A disk of 14 MiB that takes long to look at. */

/** A configuration of GRUB that looks up 4000 files that are not there. */
const lookUps = (from: number): Buffer => {
  const tests = Array.from({ length: 4000 }, (_, i) => `test -e /x${from + i}\n`).join('');
  return Buffer.from(`${tests}menuentry a {\nlinux /K\n}\n`);
};

/** FAT16 with a root directory of 65,520 entries, all of which each look-up has to pass, and eight configurations of GRUB. */
export function crowdedFat(): Buffer {
  const sector = 512;
  const perCluster = 4;
  const tableSectors = 64;
  const rootEntries = 65_520;
  const dataSector = 1 + tableSectors + (rootEntries * 32) / sector;
  const sectors = dataSector + 6000 * perCluster;
  const disk = Buffer.alloc(sectors * sector);
  disk.write('\xeb\x3c\x90MSDOS5.0', 0, 'latin1');
  for (const [at, value] of [
    [11, sector],
    [14, 1],
    [17, rootEntries],
    [22, tableSectors],
    [510, 0xaa55],
  ] as const)
    disk.writeUInt16LE(value, at);
  for (const [at, value] of [
    [13, perCluster],
    [16, 1],
    [21, 0xf8],
    [38, 0x29],
  ] as const)
    disk.writeUInt8(value, at);
  disk.writeUInt32LE(sectors, 32);
  let next = 2;
  const store = (content: Buffer): number => {
    const count = Math.max(1, Math.ceil(content.length / (perCluster * sector)));
    content.copy(disk, (dataSector + (next - 2) * perCluster) * sector);
    for (let i = 0; i < count; i++) disk.writeUInt16LE(i < count - 1 ? next + i + 1 : 0xffff, sector + (next + i) * 2);
    next += count;
    return next - count;
  };
  const entry = (name: string, attributes: number, cluster: number, size: number): Buffer => {
    const bytes = Buffer.alloc(32);
    bytes.write(name.padEnd(11), 0, 'latin1');
    bytes.writeUInt8(attributes, 11);
    bytes.writeUInt16LE(cluster, 26);
    bytes.writeUInt32LE(size, 28);
    return bytes;
  };
  const vendors = Array.from({ length: 8 }, (_, i) => {
    const config = lookUps(i * 4000);
    const file = store(entry('GRUB    CFG', 0x20, store(config), config.length));
    return entry(`V${i}`, 0x10, file, 0);
  });
  const efi = entry('EFI', 0x10, store(Buffer.concat(vendors)), 0);
  const others = Array.from({ length: rootEntries - 1 }, (_, i) => entry(`A${i}`, 0x20, 0, 0));
  Buffer.concat([...others, efi]).copy(disk, (1 + tableSectors) * sector);
  return disk;
}
