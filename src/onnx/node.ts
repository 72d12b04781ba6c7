/** Building nodes, and reading their attributes. */
import { create } from '@bufbuild/protobuf'
import {
  AttributeProtoSchema, NodeProtoSchema, TensorShapeProto_DimensionSchema as DimensionSchema, ValueInfoProtoSchema,
  type AttributeProto, type NodeProto, type TensorProto, type ValueInfoProto
} from './generated/onnx_pb.js'

export const AttributeType = { FLOAT: 1, INT: 2, STRING: 3, TENSOR: 4, GRAPH: 5, FLOATS: 6, INTS: 7 } as const

export type AttributeValue = { float: number } | { int: number } | { ints: readonly number[] } | { tensor: TensorProto }

/** A node of the standard operator set, or of `opDomain`. */
export function makeNode (
  opType: string, name: string, input: readonly string[], output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {}, opDomain = ''
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    name,
    domain: opDomain,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([key, value]) => makeAttribute(key, value))
  })
}

export function makeAttribute (name: string, value: AttributeValue): AttributeProto {
  if ('float' in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float })
  if ('int' in value) return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value.int) })
  if ('tensor' in value) return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t: value.tensor })
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.ints.map(BigInt) })
}

/** A graph input or output; a dimension is a number, a name, or null for unknown. */
export function makeValueInfo (
  name: string, elemType: number, dims: ReadonlyArray<number | string | null>
): ValueInfoProto {
  const dim = dims.map((size) => create(DimensionSchema, size === null
    ? {}
    : {
        value: typeof size === 'number'
          ? { case: 'dimValue', value: BigInt(size) }
          : { case: 'dimParam', value: size }
      }))
  return create(ValueInfoProtoSchema, { name, type: { tensorType: { elemType, shape: { dim } } } })
}

/** Dimensions of a graph input or output: a number, or null where it varies; undefined where the rank is unknown. */
export function shapeOf (info: ValueInfoProto): Array<number | null> | undefined {
  return info.type?.tensorType?.shape?.dim.map(({ value }) => {
    return value.case === 'dimValue' && value.value >= 0n ? Number(value.value) : null
  })
}

export function attributeOf (node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name)
}

/** An integer attribute, or its default. */
export function intAttribute (node: NodeProto, name: string, otherwise: number): number {
  const attribute = attributeOf(node, name)
  return attribute === undefined ? otherwise : Number(attribute.i)
}

/** A float attribute as it stands on the wire (float32, widened), or its default. */
export function floatAttribute (node: NodeProto, name: string, otherwise: number): number {
  return Math.fround(attributeOf(node, name)?.f ?? otherwise)
}

/** A list of integers, or undefined when the attribute is absent. */
export function intsAttribute (node: NodeProto, name: string): number[] | undefined {
  return attributeOf(node, name)?.ints.map(Number)
}
