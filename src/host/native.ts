/**
 * The shim as TypeScript sees it: every function of native/, typed by hand. Any thread.
 *
 * Results are the kernel's: a non-negative value, or `-errno`. Addresses are plain numbers (user space ends below 2^47).
 */
export type Argument = number | ArrayBufferView | ArrayBufferLike | undefined;

/** A libuv poll handle; see native/fd_watch.cc. */
export type FdWatchHandle = { readonly __brand: 'tsvmm.fdWatch' };

export interface NativeLayout {
  readonly size: number;
  readonly offsets: Readonly<Record<string, number>>;
}

export interface Native {
  /** The version of this interface; src/host/addon.ts refuses another. */
  readonly abi: number;

  /** A raw system call. A view argument stands for the address of its first byte. */
  syscall(number: number, a?: Argument, b?: Argument, c?: Argument, d?: Argument, e?: Argument, f?: Argument): number;
  /** The same, number and six arguments from memory: what is larger than 31 bits would be an allocation as an argument. */
  syscallBy(words: Float64Array): number;
  ioctl(fd: number, request: number, argument?: Argument): number;
  /** A system call that makes a descriptor. The calling environment holds it: closes it at its end, if not before. */
  openFd(number: number, a?: Argument, b?: Argument, c?: Argument, d?: Argument): number;
  closeFd(fd: number): number;
  /** Closes it on libuv's thread pool. */
  closeFdLater(fd: number): Promise<void>;
  /**
   * Makes a descriptor on libuv's thread pool: `calls` are requests and arguments of ioctls, the first of `parent`, the others of
   * what it made; see native/making.cc. Resolves when the pool is done with it, or it was taken back.
   */
  makeLater(parent: number, calls: readonly Argument[], words: Int32Array): Promise<void>;
  /** 1 if the pool has not begun with it, and then it will not; 0 if it has, or if it is over. */
  takeBack(making: Promise<void>): number;
  /** The calling environment holds it no more. */
  giveFd(fd: number): number;
  /** `KVM_RUN`: 0 or `-errno`; EINTR is never retried here. */
  run(vcpuFd: number): number;
  /** Adds 1 to an eventfd. */
  ring(eventFd: number): number;
  /** Address of a 64-bit word that never goes, where eventfd counters may be dropped. */
  eventSink(): number;
  addressOf(view: ArrayBufferView | ArrayBufferLike): number;
  /** Copies memory at `address` into `target`; the caller has checked the range. */
  copyOut(address: number, target: Uint8Array): void;
  copyIn(address: number, source: Uint8Array): void;

  /** Maps memory, held once by the calling environment; `alignment` is a power of two or 0. Address or `-errno`. */
  mapMemory(length: number, protection: number, flags: number, fd: number, offset: number, alignment: number): number;
  /** The pages of part of a mapping, elsewhere and held once; what is mapped there stays, without them. Address, or -errno. */
  moveMemory(address: number, length: number): number;
  /** Gives up the environment's hold; the last holder (that, or an ArrayBuffer in any isolate) unmaps. */
  releaseMemory(address: number): number;
  /** An ArrayBuffer over part of one mapping, which it holds; undefined if the range is not inside one. */
  wrapMemory(address: number, length: number): ArrayBuffer | undefined;
  /** Empties every view of the buffer. */
  detach(buffer: ArrayBuffer): number;
  memoryHolders(address: number): number;

  /** Guards [address, +length) against SIGBUS; the handler sets the 32-bit word at `failedWord` and rings `doorbell`. */
  guard(address: number, length: number, pageSize: number, failedWord: number, doorbell: number): number;
  unguard(slot: number): number;

  /** Takes this memory away (native/cut.cc) when the calling environment ends, unless `dropCut` comes before. */
  cutAtEnd(address: number, length: number, emptyFile: number, faults: number): number;
  dropCut(handle: number): number;

  /** Chooses the kick signal (once per process) and checks that it is still ours. */
  kickSignal(): number;
  /** Watches the calling thread's event loop on behalf of Node; `immediateExit` is that byte's address in kvm_run. */
  watchLoop(immediateExit: number): number;
  unwatchLoop(id: number): number;
  /** Makes the thread of that watch leave KVM_RUN. From any thread. */
  kick(id: number): number;
  backendFd(): number;
  threadId(): number;

  watchFd(fd: number, callback: () => void): FdWatchHandle | undefined;
  armFd(handle: FdWatchHandle): number;
  refFd(handle: FdWatchHandle, on: number): number;
  unwatchFd(handle: FdWatchHandle): number;

  layouts(): Readonly<Record<string, NativeLayout>>;
}
