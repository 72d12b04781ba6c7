/** Queries of Prometheus, read with Prometheus's own grammar. */
import { parser } from '@prometheus-io/lezer-promql'

interface Selected {
  metric: string
  labels: string[]
}

/** What is wrong with a query, if these are the metrics with their labels, and `targetLabels` what any sample has. */
export function faultsOfQuery (
  query: string, names: ReadonlyMap<string, ReadonlySet<string>>, targetLabels: readonly string[]
): string[] {
  const { selected, grouping, isWrong } = readQuery(query)
  if (isWrong) return [`this is no PromQL: ${query}`]
  const faults: string[] = []
  for (const { metric, labels } of selected) {
    const known = names.get(metric)
    if (known === undefined) faults.push(`there is no metric ${metric}`)
    for (const label of labels) {
      if (known !== undefined && !known.has(label) && !targetLabels.includes(label)) faults.push(`${metric} has no label ${label}`)
    }
  }
  if (faults.length > 0) return faults
  const available = new Set([...targetLabels, ...selected.flatMap(({ metric }) => [...names.get(metric)!])])
  return grouping.filter((label) => !available.has(label)).map((label) => `no metric of the query has the label ${label}`)
}

/** Labels that results may have: those grouped by, or all of the metrics where nothing is grouped. */
export function labelsOfQuery (query: string, names: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const { selected, grouping, isAggregated } = readQuery(query)
  return isAggregated ? grouping : selected.flatMap(({ metric }) => [...names.get(metric) ?? []])
}

function readQuery (query: string) {
  const selected: Selected[] = []
  const grouping: string[] = []
  let isWrong = false
  let isAggregated = false
  let isInGrouping = false
  parser.parse(query).iterate({
    enter ({ name, type, from, to }) {
      const text = query.slice(from, to)
      if (type.isError) isWrong = true
      else if (name === 'VectorSelector') selected.push({ metric: '', labels: [] })
      else if (name === 'AggregateExpr') isAggregated = true
      else if (name === 'GroupingLabels') isInGrouping = true
      else if (name === 'Identifier') selected.at(-1)!.metric = text
      else if (name === 'LabelName') (isInGrouping ? grouping : selected.at(-1)!.labels).push(text)
    },
    leave ({ name }) {
      if (name === 'GroupingLabels') isInGrouping = false
    }
  })
  return { selected, grouping, isWrong: isWrong || selected.length === 0, isAggregated }
}
