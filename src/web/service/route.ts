/** Where one is: what stands behind # in the address, which no server sees. */
import { useEffect, useState } from 'preact/hooks'

/** `#/try/traffic-signs` is ['try', 'traffic-signs']. */
export function useRoute (): string[] {
  const [parts, setParts] = useState(partsOf)
  useEffect(() => {
    const follow = () => setParts(partsOf())
    window.addEventListener('hashchange', follow)
    return () => window.removeEventListener('hashchange', follow)
  }, [])
  return parts
}

function partsOf (): string[] {
  return location.hash.replace(/^#\/?/, '').split('/').filter((part) => part !== '').map(decoded)
}

function decoded (part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function linkTo (...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`
}
