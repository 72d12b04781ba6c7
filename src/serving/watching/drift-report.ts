/** What is told of drift: features by the layer and channel that they are of. */
import { environmentName, type Settings } from '../../config/schema.js'
import { servingErrors } from '../errors.js'
import type { DriftState } from '../../drift/domain-watch.js'
import type { ReadyModel } from '../model-states.js'

/** A feature that moved: mean or spread of what a channel of an early layer gives. */
export interface MovedChannel {
  layer: string
  channel: number
  of: 'mean' | 'spread'
  /** In standard deviations of one picture. */
  shift: number
}

/** Without a signature, or before the first picture, there are no counts. */
export interface DriftReport extends Partial<Omit<DriftState, 'moved' | 'state'>> {
  state: DriftState['state'] | 'noSignature'
  version: number
  requestsPerFalseAlarm: number
  share: number
  passedOver?: number
  moved?: MovedChannel[]
}

/** The state of a watch, for a stem that reads these channels: first their means, then their spreads. */
export function toldOf (
  { moved, ...state }: DriftState, channels: NonNullable<ReadyModel['artefact']['stem']>['channels']
): Pick<DriftReport, 'moved' | 'state'> & Omit<DriftState, 'moved' | 'state'> {
  if (moved === undefined) return state
  return {
    ...state,
    moved: moved.map(({ feature, shift }) => {
      const { layerKey, channel } = channels[feature % channels.length]!
      return { layer: layerKey, channel, of: feature < channels.length ? 'mean' : 'spread', shift }
    })
  }
}

/** For who asks about drift where nobody looks for it. */
export function driftOff ({ driftErt }: Pick<Settings, 'driftErt'>): Error {
  return off('nobody looks for drift here', 'driftErt', 'above 0', driftErt)
}

/** For who asks about candidates where none are made. */
export function candidatesOff (settings: Pick<Settings, 'driftErt' | 'driftCollect'>): Error {
  if (settings.driftErt === 0) return driftOff(settings)
  return off('no pictures are gathered for candidates here', 'driftCollect', 'true', settings.driftCollect)
}

function off (what: string, setting: keyof Settings, expected: string, received: unknown): Error {
  const name = environmentName(setting)
  return servingErrors.DRIFT_OFF(`${what}: ${name} is ${String(received)}`, { expected: `${name} ${expected}`, received })
}
