/** Settings for a command that runs inference itself, for one caller: a single thread. Throws CONFIG_INVALID. */
import { loadSettings } from '../config/load.js'
import { environmentName, type Settings } from '../config/schema.js'

export function loadCommandSettings (): Settings {
  return loadSettings({
    ...process.env, [environmentName('workers')]: '1', [environmentName('expressThreads')]: '0'
  }, [])
}
