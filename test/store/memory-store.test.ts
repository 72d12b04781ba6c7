import { emptyMemory, MemoryStore } from '../support/memory-store.js'
import { storeContract } from './contract.js'
import { NOW } from './fixtures/operations.js'

storeContract('the store in memory', async () => {
  const memory = emptyMemory()
  return { open: async () => new MemoryStore(memory, () => NOW) }
})
