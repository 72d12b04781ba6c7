/**
 * Pass: calls of model-local functions that hold a batch norm, replaced by the function's nodes (ONNX IR, "Functions").
 *
 * What a batch norm in a function normalises with depends on the call; inlined, each call has a site of its own. Cases:
 *
 *  1. a function whose body, or a function that it calls, holds a batch norm: its calls are inlined, outermost first
 *  2. a formal input that the call leaves out: an empty name, which is how nodes leave inputs out
 *  3. an attribute that refers to one of the call (`ref_attr_name`): takes its value, else the function's default, else
 *     goes
 *  4. values of the body, also where nested graphs read them: renamed, so that two calls do not meet
 *  5. a function for another version of the operator set than the model: refused
 *  6. functions that call each other in a circle: refused
 */
import { clone } from '@bufbuild/protobuf'
import { onnxErrors } from '../../onnx/errors.js'
import {
  AttributeProtoSchema, NodeProtoSchema, type AttributeProto, type FunctionProto, type NodeProto
} from '../../onnx/generated/onnx_pb.js'
import { createNamer, nestedGraphs, renameValues } from '../../onnx/graph.js'
import { isOnnxDomain, NODES_MAX, opsetOf, type OnnxModel } from '../../onnx/model.js'

type Resolve = (node: NodeProto) => FunctionProto | undefined

/** Edits `model` in place; tells whether anything was inlined. Throws ONNX_UNSUPPORTED or ONNX_TOO_LARGE. */
export function inlineFunctions (model: OnnxModel): boolean {
  const functions = new Map(model.functions.map((body) => [keyOf(body.domain, body.name, body.overload), body]))
  const resolve: Resolve = (node) => functions.get(keyOf(node.domain, node.opType, node.overload))
  const holding = new Set(model.functions.filter((body) => holdsBatchNorm(body.node, resolve, [body])))
  if (holding.size === 0) return false
  const fresh = createNamer(model.graph)
  let hasChanged = false
  for (;;) {
    const calls = model.graph.node.some((node) => holding.has(resolve(node)!))
    if (!calls) {
      // A call from a nested graph keeps its function, and the reader refuses it with a reason.
      model.functions = model.functions.filter((body) => {
        return !holding.has(body) || isCalled(model.graph.node, resolve, body)
      })
      return hasChanged
    }
    hasChanged = true
    model.graph.node = model.graph.node.flatMap((node) => {
      const body = resolve(node)
      return body !== undefined && holding.has(body) ? inline(model, node, body, fresh) : [node]
    })
    if (model.graph.node.length > NODES_MAX) {
      throw onnxErrors.ONNX_TOO_LARGE('the graph has too many nodes once its functions are inlined', {
        expected: NODES_MAX, received: model.graph.node.length
      })
    }
  }
}

function keyOf (domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload])
}

function holdsBatchNorm (nodes: readonly NodeProto[], resolve: Resolve, path: readonly FunctionProto[]): boolean {
  return nodes.some((node) => {
    if (node.opType === 'BatchNormalization' && isOnnxDomain(node.domain)) return true
    if (nestedGraphs(node).some((nested) => holdsBatchNorm(nested.node, resolve, path))) return true
    const body = resolve(node)
    if (body === undefined) return false
    if (path.includes(body)) {
      throw onnxErrors.ONNX_UNSUPPORTED(`the function "${body.name}" calls itself`, { received: body.name })
    }
    return holdsBatchNorm(body.node, resolve, [...path, body])
  })
}

function isCalled (nodes: readonly NodeProto[], resolve: Resolve, body: FunctionProto): boolean {
  return nodes.some((node) => {
    return resolve(node) === body || nestedGraphs(node).some((nested) => isCalled(nested.node, resolve, body))
  })
}

function inline (model: OnnxModel, call: NodeProto, body: FunctionProto, fresh: (wish: string) => string): NodeProto[] {
  requireSameOpset(model, body)
  const prefix = call.name === '' ? call.output[0] ?? body.name : call.name
  const names = new Map<string, string>([['', '']])
  for (const [at, formal] of body.input.entries()) names.set(formal, call.input[at] ?? '')
  for (const [at, formal] of body.output.entries()) {
    const actual = call.output[at] ?? ''
    names.set(formal, actual === '' ? fresh(`${prefix}/${formal}`) : actual)
  }
  // What the body reads or makes; what nested graphs make for themselves keeps its name.
  for (const node of body.node) {
    for (const value of [...node.input, ...node.output]) {
      if (!names.has(value)) names.set(value, fresh(`${prefix}/${value}`))
    }
  }
  const attributes = attributesOf(call, body)
  return body.node.map((original) => {
    const node = clone(NodeProtoSchema, original)
    resolveAttributes(node, attributes)
    renameValues(node, (value) => names.get(value) ?? value)
    if (node.name !== '') node.name = `${prefix}/${node.name}`
    return node
  })
}

function requireSameOpset (model: OnnxModel, body: FunctionProto): void {
  for (const wanted of body.opsetImport) {
    const { domain, version } = wanted
    const expected = isOnnxDomain(domain)
      ? BigInt(opsetOf(model))
      : model.opsetImport.find((entry) => entry.domain === domain)?.version
    if (expected === undefined) {
      model.opsetImport.push(wanted)
    } else if (expected !== version) {
      throw onnxErrors.ONNX_UNSUPPORTED(
        `the function "${body.name}", which holds a batch norm, is for another operator set than the model`,
        { received: `${domain} ${version}`, expected: `${domain} ${expected}` }
      )
    }
  }
}

/** The attributes that a call gives its function, defaults included. */
function attributesOf (call: NodeProto, body: FunctionProto): Map<string, AttributeProto> {
  return new Map([...body.attributeProto, ...call.attribute].map((attribute) => [attribute.name, attribute]))
}

function resolveAttributes (node: NodeProto, given: ReadonlyMap<string, AttributeProto>): void {
  node.attribute = node.attribute.flatMap((attribute) => resolved(attribute, given))
  for (const nested of nestedGraphs(node)) for (const inner of nested.node) resolveAttributes(inner, given)
}

function resolved (attribute: AttributeProto, given: ReadonlyMap<string, AttributeProto>): AttributeProto[] {
  if (attribute.refAttrName === '') return [attribute]
  const value = given.get(attribute.refAttrName)
  if (value === undefined) return []
  const copy = clone(AttributeProtoSchema, value)
  copy.name = attribute.name
  return [copy]
}
