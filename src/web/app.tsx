/** The page at /ui: who asks, where one is, and the page for it. */
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { DomainPage } from './domain/page.js'
import { DomainsPage } from './domains/page.js'
import { Frame, Heading } from './frame/frame.js'
import { HealthPage } from './health/page.js'
import { NewPage } from './new/page.js'
import { TryPage } from './try/page.js'
import { linkTo, useRoute } from './service/route.js'
import { greet } from './service/session.js'

function App () {
  const [page = '', first, second] = useRoute()
  useEffect(() => { void greet() }, [])
  return <Frame page={page}>{pageOf(page, first, second)}</Frame>
}

function pageOf (page: string, first?: string, second?: string) {
  if (page === '') return <DomainsPage />
  if (page === 'try') return <TryPage model={first} sample={second} />
  if (page === 'new') return <NewPage model={first} domain={second} />
  if (page === 'health') return <HealthPage />
  if (page === 'domain' && first !== undefined && second !== undefined) {
    return <DomainPage key={`${first}/${second}`} model={first} name={second} />
  }
  return <Heading title='There is no such page'><p><a href={linkTo()}>All domains</a></p></Heading>
}

render(<App />, document.getElementById('app')!)
