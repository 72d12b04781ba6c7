/** The models that one may see. */
import { usePolled, type Polled } from './poll.js'
import { useSession } from './session.js'
import type { Model } from '../../../clients/typescript/src/index.js'

const EVERY_MS = 10_000
/** While one is on its way. */
const LOADING_EVERY_MS = 1_000

export function useModels (): Polled<Model[]> {
  const { caller } = useSession()
  const only = caller?.key?.models
  const isLoading = (models: Model[] | undefined) => models?.every(({ state }) => state !== 'loading') === false
  return usePolled(
    caller?.may.list === true ? 'models' : undefined,
    (models) => isLoading(models) ? LOADING_EVERY_MS : EVERY_MS,
    // A key that holds for some models may not ask for all.
    async (client, signal) => only === undefined
      ? await client.models({ signal })
      : await Promise.all(only.map((model) => client.model(model, { signal })))
  )
}
