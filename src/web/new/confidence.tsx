/** How far the statistics of a calibration can be trusted. */
import { TableFrame } from '../parts/table-frame.js'
import { figure, percent, plural } from '../service/words.js'
import type { CalibrationResult } from '../../../clients/typescript/src/index.js'

export function Confidence ({ result: { images, report } }: { result: CalibrationResult }) {
  const { verdict, layers } = report
  // What the verdict says already.
  const warnings = report.warnings.filter(({ code }) => code !== 'NOT_SETTLED')
  const largest = layers.reduce((most, { meanError, varianceError }) => Math.max(most, meanError, varianceError), 1e-9)
  const share = (error: number) => ({ width: `${Math.max(0.5, 100 * error / largest)}%` })
  const left = [
    images.duplicates > 0 ? plural(images.duplicates, 'copy').replace('copys', 'copies') : '',
    images.broken > 0 ? `${images.broken} that cannot be read` : ''
  ].filter((text) => text !== '')
  return (
    <>
      <p>
        <span class={verdict.isSettled ? 'tag good' : 'tag warning'}>{verdict.isSettled ? 'settled' : 'not settled'}</span>
        {' '}{verdict.text}. {images.used} of {plural(images.given, 'image')} used{left.length === 0 ? '' : `, without ${left.join(' and ')}`}.
      </p>
      {warnings.length > 0 && (
        <ul class='warnings'>{warnings.map(({ code, message }) => <li key={code}><strong>{code}</strong> {message}</li>)}</ul>
      )}
      {images.brokenImages.length > 0 && (
        <details>
          <summary>Pictures that cannot be read</summary>
          <ul>{images.brokenImages.map(({ name, code }) => <li key={name}>{name} <code>{code}</code></li>)}</ul>
        </details>
      )}
      <TableFrame label='Confidence'>
        <table class='confidence'>
          <caption>Standard errors, as shares of the spread</caption>
          <thead>
            <tr>
              <th scope='col'>Layer</th>
              <th scope='col' class='number'>of means</th>
              <th scope='col' class='number'>of variances</th>
              <th scope='col'><span class='hidden'>As bars</span></th>
              <th scope='col'>Settled</th>
            </tr>
          </thead>
          <tbody>
            {layers.map(({ layer, meanError, varianceError, isSettled, deadChannels }) => (
              <tr key={layer}>
                <th scope='row'><code>{layer}</code></th>
                <td class='number'>{errorText(meanError)}</td>
                <td class='number'>{errorText(varianceError)}</td>
                <td class='pair' aria-hidden='true'>
                  <span class='bar'><span style={share(meanError)} /></span>
                  <span class='bar second-bar'><span style={share(varianceError)} /></span>
                </td>
                <td>{isSettled ? 'yes' : <strong>not yet</strong>}{deadChannels > 0 ? `, ${plural(deadChannels, 'dead channel')}` : ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </TableFrame>
    </>
  )
}

/** Beyond all measure, figures say nothing. */
function errorText (error: number): string {
  return error > 10 ? figure(error) : percent(error)
}
