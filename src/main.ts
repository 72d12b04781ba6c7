#!/usr/bin/env node
import { runBankswitch } from './cli/bankswitch.js'

process.exitCode = await runBankswitch(process.argv.slice(2))
// Native threads and open handles must not keep a finished command alive.
process.exit()
