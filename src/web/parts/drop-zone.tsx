/** A place to drop files on, which is also a button to choose them. */
import { useRef, useState } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

interface DropZoneProps {
  label: string
  accept: string
  isFolder?: boolean
  isMany?: boolean
  onFiles: (files: File[]) => void
  children?: ComponentChildren
}

/** What one drop may bring; the server takes no more. */
const FILES_MAX = 20_000

export function DropZone ({ label, accept, isFolder, isMany, onFiles, children }: DropZoneProps) {
  const [isOver, setOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const folder = useRef<HTMLInputElement>(null)
  const drop = (event: DragEvent) => {
    event.preventDefault()
    setOver(false)
    void droppedFiles(event.dataTransfer!).then(onFiles)
  }
  const chosen = (event: Event) => {
    const { files } = event.currentTarget as HTMLInputElement
    onFiles([...files ?? []])
    // The same file may be chosen again.
    ;(event.currentTarget as HTMLInputElement).value = ''
  }
  return (
    <div
      class={isOver ? 'drop over' : 'drop'} role='group' aria-label={label}
      onDragOver={(event) => { event.preventDefault(); setOver(true) }} onDragLeave={() => setOver(false)} onDrop={drop}
    >
      <p>{label}</p>
      <div class='buttons'>
        <button type='button' onClick={() => input.current!.click()}>Choose {isMany === true ? 'files' : 'a file'}</button>
        {isFolder === true && <button type='button' onClick={() => folder.current!.click()}>Choose a folder</button>}
        {children}
      </div>
      <input ref={input} hidden type='file' accept={accept} multiple={isMany === true} onChange={chosen} />
      {isFolder === true && (
        <input ref={folder} hidden type='file' {...{ webkitdirectory: true }} onChange={chosen} />
      )}
    </div>
  )
}

/** With those of folders, however deep. */
async function droppedFiles (transfer: DataTransfer): Promise<File[]> {
  // Entries and files are to be had only until the event is over.
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? [])
  const files = [...transfer.files]
  if (!entries.some(({ isDirectory }) => isDirectory)) return files
  const found: File[] = []
  for (const entry of entries) await gather(entry, found)
  return found
}

async function gather (entry: FileSystemEntry, found: File[]): Promise<void> {
  if (found.length >= FILES_MAX) return
  if (entry.isFile) {
    found.push(await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)))
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    // A hundred at a time, until there are none.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) return
    for (const inside of some) await gather(inside, found)
  }
}
