/** What a compiled artefact depends on besides the model: the runtime's version and the processor's features. */
import './telemetry-off.js'
import { readFileSync } from 'node:fs'
import { arch, cpus, platform } from 'node:os'
import { env } from 'onnxruntime-node'
import { sha256 } from '../base/digest.js'

/** Version of the ONNX Runtime library in this process. */
export function runtimeVersion (): string {
  return env.versions.node ?? 'unknown'
}

/**
 * A short hash of the processor's architecture and feature flags. ONNX Runtime picks its memory layout (the NCHWc block
 * size) by them, so a graph it has optimised belongs to them.
 */
export function processorFingerprint (): string {
  return sha256(platform(), arch(), processorFlags()).slice(0, 16)
}

function processorFlags (): string {
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8')
    const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1]
    if (flags !== undefined) return flags.split(' ').sort().join(' ')
  } catch {
    // Not Linux: the model name tells the features well enough.
  }
  return cpus()[0]?.model ?? 'unknown'
}
