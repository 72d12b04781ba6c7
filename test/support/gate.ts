/** A place where work waits until the test lets it go on. */
export interface Gate {
  /** Settles when `open` is called. */
  opened: Promise<void>
  open (): void
  /** To be called by the work: tells the test that it is there, and waits. */
  pass (): Promise<void>
  /** Settles when the work has come to the gate. */
  reached: Promise<void>
}

export function gate (): Gate {
  let open!: () => void
  let arrive!: () => void
  const opened = new Promise<void>((resolve) => { open = resolve })
  const reached = new Promise<void>((resolve) => { arrive = resolve })
  const pass = async () => {
    arrive()
    await opened
  }
  return { opened, open, pass, reached }
}
