/** The frame of a table. One that is wider than the screen scrolls, also by the keyboard, which has to reach it for that. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

export function TableFrame ({ label, children }: { label: string, children: ComponentChildren }) {
  const frame = useRef<HTMLDivElement>(null)
  const [isWider, setWider] = useState(false)
  useLayoutEffect(() => {
    const element = frame.current!
    const look = () => setWider(element.scrollWidth > element.clientWidth)
    const observer = new ResizeObserver(look)
    observer.observe(element)
    observer.observe(element.firstElementChild!)
    look()
    return () => observer.disconnect()
  }, [])
  return (
    <div class='frame' ref={frame} {...isWider ? { tabIndex: 0, role: 'region', 'aria-label': `${label}, scrolls` } : {}}>
      {children}
    </div>
  )
}
