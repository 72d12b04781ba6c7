/** The part of the package that is used here; it brings no types. */
declare module 'fs-native-extensions' {
  /**
   * Tries to lock `length` bytes at `offset` for this open file alone; false when another has them. Throws the errno
   * error of file systems without locks.
   */
  export function tryLock (fd: number, offset: number, length: number): boolean
}
