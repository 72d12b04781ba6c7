/** Two banks apart, as a picture: one row a layer, a bar for the shift of means and one for the change of spread. */
import type { LayerDifference } from './difference.js'

const ROW = 22
const BAR = 8
const TOP = 58
const BARS_WIDTH = 420
const CHARACTER = 7
const RIGHT = 90
const SHIFT_COLOUR = '#2563a8'
const RATIO_COLOUR = '#c2631b'

/** An SVG document of its own; both kinds of bars share one scale, which begins at 0 and ends at the largest value. */
export function differenceSvg (layers: readonly LayerDifference[], titleA: string, titleB: string): string {
  const left = 20 + CHARACTER * Math.min(60, layers.reduce((widest, { layer }) => Math.max(widest, layer.length), 5))
  const [width, height] = [left + BARS_WIDTH + RIGHT, TOP + ROW * layers.length + 16]
  const logRatio = ({ deviationRatio }: LayerDifference) => Math.abs(Math.log(deviationRatio))
  const largest = layers.reduce((most, layer) => Math.max(most, layer.meanShift, logRatio(layer)), 1e-12)
  const bar = (y: number, value: number, colour: string) => {
    return `<rect x="${left}" y="${y}" width="${(BARS_WIDTH * value / largest).toFixed(1)}" height="${BAR}" fill="${colour}"/>`
  }
  const text = (x: number, y: number, content: string, more = '') => {
    return `<text x="${x}" y="${y}"${more}>${escaped(content)}</text>`
  }
  const rows = layers.map((layer, at) => {
    const y = TOP + ROW * at
    const figures = `${layer.meanShift.toFixed(2)}, ×${layer.deviationRatio.toFixed(2)}`
    const end = left + BARS_WIDTH * Math.max(layer.meanShift, logRatio(layer)) / largest + 6
    return [
      text(left - 8, y + 13, clip(layer.layer), ' text-anchor="end"'),
      bar(y + 1, layer.meanShift, SHIFT_COLOUR),
      bar(y + 1 + BAR, logRatio(layer), RATIO_COLOUR),
      text(end, y + 13, figures, ' fill="#555"')
    ].join('')
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
      'font-family="ui-monospace, monospace" font-size="11">',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(12, 20, `${clip(titleA)} → ${clip(titleB)}`, ' font-size="13" font-weight="bold"'),
    `<rect x="12" y="32" width="10" height="10" fill="${SHIFT_COLOUR}"/>`,
    text(28, 41, 'shift of means, in standard deviations'),
    `<rect x="300" y="32" width="10" height="10" fill="${RATIO_COLOUR}"/>`,
    text(316, 41, '|ln| of the ratio of standard deviations'),
    ...rows,
    '</svg>\n'
  ].join('\n')
}

function clip (name: string): string {
  return name.length > 60 ? `…${name.slice(-59)}` : name
}

function escaped (text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replaceAll(/[&<>"]/g, (character) => entities[character]!)
}
