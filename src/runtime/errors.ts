import { defineErrors } from '../base/errors.js'

export const runtimeErrors = defineErrors({
  QUEUE_FULL: 'exhausted',
  REQUEST_TOO_MANY_ROWS: 'invalid',
  DEADLINE_EXCEEDED: 'timeout',
  REQUEST_CANCELLED: 'cancelled',
  WORKER_CRASHED: 'unavailable',
  RUN_STUCK: 'unavailable',
  WORKERS_STUCK: 'unavailable',
  POOL_CLOSED: 'unavailable'
})
