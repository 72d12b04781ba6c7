/** What each bank takes the picture for. */
import { Fault } from '../parts/dialog.js'
import { milliseconds, percent } from '../service/words.js'
import { useAnswers, type BankAnswer, type Chosen } from './answers.js'
import { bankTitle, BY_MODEL } from './bank-choice.js'
import type { Predictions } from '../../../clients/typescript/src/index.js'

const TOP = 5

interface LabelsProps {
  model: string
  chosen: Chosen
  banks: readonly string[]
}

export function Labels ({ model, chosen: { picture, subject }, banks }: LabelsProps) {
  const answers = useAnswers(picture, banks, (client, bank, signal) => {
    return client.predict(model, picture, { top: TOP, signal, ...bank === BY_MODEL ? {} : { domain: bank } })
  })
  return (
    <div class='cards' aria-live='polite'>
      {answers.map((answer) => <LabelCard key={answer.bank} answer={answer} subject={subject} />)}
      {banks.length === 0 && <p class='empty'>Choose a bank.</p>}
    </div>
  )
}

function LabelCard ({ answer: { bank, answer, error, ms }, subject }: { answer: BankAnswer<Predictions>, subject: string | undefined }) {
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
    </section>
  )
}
