/** Where the batch norms of a model come from: its graph, a state_dict that undoes their folding, or nothing at all. */
export type Origin = 'graph' | 'reference-state' | 'inserted'
