/** All benchmarks: each is the file of its name, and has a section of its name in README.md. */
export interface Listed {
  name: string
  /** What its figures tell. */
  shows: string
  /** Roughly, on two cores. */
  minutes: number
}

export const BENCHES: readonly Listed[] = [
  { name: 'switch', shows: 'what switching costs over the fastest that one could load per domain, for eight networks', minutes: 25 },
  { name: 'profile', shows: 'where the time of a switched inference goes, by operator; takes --model and --shape', minutes: 1 },
  { name: 'domains', shows: 'memory and throughput with up to a thousand domains', minutes: 10 },
  { name: 'blend', shows: 'what a blend of domains costs over one, and with --data what it is worth at dusk', minutes: 8 },
  { name: 'registrations', shows: 'what inference notices of a hundred registrations a second', minutes: 2 },
  { name: 'postgres', shows: 'inference over a database beside files, how soon other servers know, and what ten thousand domains take', minutes: 3 },
  { name: 'hot', shows: 'what a network of its own is worth to a hot domain, what it takes, and that no answer is wrong', minutes: 15 },
  { name: 'alternate', shows: 'that switching leaves no trace, and how soon a new domain answers', minutes: 1 },
  { name: 'http-cost', shows: 'what HTTP costs over the same inferences without it', minutes: 5 },
  { name: 'http-peer', shows: 'requests per second beside a plain FastAPI server; takes --python', minutes: 2 },
  { name: 'livez', shows: 'how /livez answers while inference saturates the machine', minutes: 1 },
  { name: 'flood', shows: 'what one domain\'s flood costs another; takes --model resnet50', minutes: 1 },
  { name: 'soak', shows: 'many requests, one in twenty hostile: no wrong answer, no growth', minutes: 3 },
  { name: 'abuse', shows: 'requests that were made to hurt, all kinds at once: no failure, no leak, bounded memory', minutes: 6 },
  { name: 'cycles', shows: 'domains that come and go: no growth, nothing left behind', minutes: 10 },
  { name: 'drift', shows: 'whether alarms of drift keep to their dial, how soon they come, and what watching costs; takes --data', minutes: 40 },
  { name: 'calibration', shows: 'what a calibration costs, and what inference notices of it', minutes: 10 },
  { name: 'auto', shows: 'what X-Domain: auto costs over a domain that is named', minutes: 3 },
  { name: 'auto-accuracy', shows: 'whether auto chooses the right bank, and what that is worth; takes --data FOLDER', minutes: 10 },
  { name: 'signatures', shows: 'nothing: it writes the signatures of the shipped domains; takes --data FOLDER', minutes: 3 },
  { name: 'picture', shows: 'time and memory of a picture of 24 megapixels', minutes: 3 },
  { name: 'ui', shows: 'how soon the page at /ui is there, its size, and what inference notices of it; needs Chromium', minutes: 6 }
]

export function listing (): string {
  const width = Math.max(...BENCHES.map(({ name }) => name.length))
  const lines = BENCHES.map(({ name, shows, minutes }) => `  ${name.padEnd(width)}  ${shows} (${minutes} min)`)
  return `npm run bench -- NAME [options] [--write]

${lines.join('\n')}

Options are told at the top of bench/NAME.ts. --write puts the figures into bench/README.md.
`
}
