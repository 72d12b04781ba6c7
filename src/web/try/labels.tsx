/** What each bank takes the picture for. */
import { Fault } from '../parts/dialog.js'
import { figure, milliseconds, percent } from '../service/words.js'
import { useAnswers, type BankAnswer, type Chosen } from './answers.js'
import { bankTitle, BY_MODEL } from './bank-choice.js'
import type { Client, Predictions } from '../../../clients/typescript/src/index.js'

const TOP = 5

interface Answer extends Pick<Predictions, 'domain' | 'version' | 'predictions'> {
  /** Where a signature tells. */
  fit?: 'good' | 'none' | 'size' | undefined
  p?: number | undefined
}

interface LabelsProps {
  model: string
  chosen: Chosen
  banks: readonly string[]
}

export function Labels ({ model, chosen: { picture, subject }, banks }: LabelsProps) {
  const answers = useAnswers(picture, banks, (client, bank, signal) => ask(client, { model, picture, bank, signal }))
  return (
    <div class='cards' aria-live='polite'>
      {answers.map((answer) => <LabelCard key={answer.bank} answer={answer} subject={subject} />)}
      {banks.length === 0 && <p class='empty'>Choose a bank.</p>}
    </div>
  )
}

interface Question {
  model: string
  picture: Blob
  bank: string
  signal: AbortSignal
}

/** A comparison of one bank tells how well the picture fits it, and counts for no domain's drift. */
async function ask (client: Client, { model, picture, bank, signal }: Question): Promise<Answer> {
  if (bank === BY_MODEL) {
    const { recognised, ...answer } = await client.predict(model, picture, { top: TOP, signal })
    return { ...answer, fit: recognised?.fit, p: recognised?.p }
  }
  const { banks: [answer] } = await client.compare(model, picture, { top: TOP, signal, domains: [bank] })
  return { ...answer!, predictions: answer!.predictions! }
}

function LabelCard ({ answer: { bank, answer, error, ms }, subject }: { answer: BankAnswer<Answer>, subject: string | undefined }) {
  const best = answer?.predictions[0]?.label
  return (
    <section class='card' aria-label={`Under ${bankTitle(bank)}`}>
      <header>
        <h2>{answer?.domain ?? bankTitle(bank)}</h2>
        {best !== undefined && subject !== undefined && (
          <span class={best === subject ? 'tag good' : 'tag failed'}>{best === subject ? '✓ right' : '✗ wrong'}</span>
        )}
        <span class='muted'>{answer === undefined ? '' : `version ${answer.version}${ms === undefined ? '' : ` · ${milliseconds(ms)}`}`}</span>
      </header>
      {error !== undefined && <Fault error={error} />}
      {answer === undefined && error === undefined && <p class='empty'>…</p>}
      {answer !== undefined && (
        <ol class='bars'>
          {answer.predictions.map(({ index, label, score }, at) => (
            <li key={index} class={at === 0 ? 'best' : ''}>
              <span class='label'>{label}</span>
              <span class='score'>{percent(score)}</span>
              <span class='bar' aria-hidden='true'><span style={{ width: `${Math.max(0.5, 100 * score)}%` }} /></span>
            </li>
          ))}
        </ol>
      )}
      {answer?.p !== undefined && <FitText fit={answer.fit} p={answer.p} />}
    </section>
  )
}

function FitText ({ fit, p }: Pick<Answer, 'fit'> & { p: number }) {
  return (
    <p class='fit' title='p: of the domain’s own pictures, the share that is as strange as this one'>
      {fit === 'none' ? <span class='tag warning'>not like its pictures</span> : 'like its pictures'} <span class='muted'>p = {figure(p)}</span>
    </p>
  )
}
