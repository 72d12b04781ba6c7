/** What each bank makes of the picture: any two beside each other, under a slider. */
import { useState } from 'preact/hooks'
import { Fault } from '../parts/dialog.js'
import { useObjectUrl } from '../parts/sample.js'
import { milliseconds } from '../service/words.js'
import { useAnswers, type Chosen } from './answers.js'
import { bankTitle, BY_MODEL } from './bank-choice.js'

interface PicturesProps {
  model: string
  chosen: Chosen
  banks: readonly string[]
}

/** Stands for the picture as it was given. */
const GIVEN = ' given'

interface Shown {
  key: string
  title: string
  picture: Blob | undefined
}

export function Pictures ({ model, chosen: { picture }, banks }: PicturesProps) {
  const answers = useAnswers(picture, banks, async (client, bank, signal) => {
    const domain = bank === BY_MODEL ? {} : { domain: bank }
    const { bytes, type, version } = await client.predict(model, picture, { accept: 'image/png', signal, ...domain })
    return { picture: new Blob([bytes as Uint8Array<ArrayBuffer>], { type }), version }
  })
  const shown: Shown[] = [
    { key: GIVEN, title: 'as it is', picture },
    ...answers.map(({ bank, answer }) => ({ key: bank, title: bankTitle(bank), picture: answer?.picture }))
  ]
  return (
    <>
      <Comparison shown={shown} first={GIVEN} second={banks.at(-1) ?? GIVEN} />
      <ul class='timings'>
        {answers.map(({ bank, answer, ms, error }) => (
          <li key={bank}>
            {error === undefined
              ? (
                <>
                  <strong>{bankTitle(bank)}</strong>
                  {' '}<span class='muted'>{answer === undefined ? '…' : `version ${answer.version} · ${milliseconds(ms ?? 0)}`}</span>
                </>
                )
              : <Fault error={error} />}
          </li>
        ))}
      </ul>
    </>
  )
}

function Comparison ({ shown, first, second }: { shown: readonly Shown[], first: string, second: string }) {
  const [choice, setChoice] = useState<{ left?: string, right?: string }>({})
  const [share, setShare] = useState(50)
  const found = (wish: string | undefined, otherwise: string) => {
    return shown.find(({ key }) => key === wish) ?? shown.find(({ key }) => key === otherwise) ?? shown[0]!
  }
  const [left, right] = [found(choice.left, first), found(choice.right, second)]
  const [leftUrl, rightUrl] = [useObjectUrl(left.picture), useObjectUrl(right.picture)]
  const select = (side: 'left' | 'right', now: Shown) => (
    <label class='field inline'>
      {side === 'left' ? 'Left' : 'Right'}
      <select value={now.key} onChange={(event) => setChoice({ ...choice, [side]: event.currentTarget.value })}>
        {shown.map(({ key, title }) => <option key={key} value={key}>{title}</option>)}
      </select>
    </label>
  )
  return (
    <div class='comparison'>
      <div class='sides'>{select('left', left)}{select('right', right)}</div>
      <div class='wipe'>
        {rightUrl === undefined ? <p class='empty'>…</p> : <img src={rightUrl} alt={`Under ${right.title}`} />}
        {leftUrl !== undefined && rightUrl !== undefined && (
          <img class='over' src={leftUrl} alt={`Under ${left.title}`} style={{ clipPath: `inset(0 ${100 - share}% 0 0)` }} />
        )}
        <span class='edge' aria-hidden='true' style={{ left: `${share}%` }} />
      </div>
      <label class='field'>
        <span>How much of the left picture is seen</span>
        <input type='range' min='0' max='100' value={share} onInput={(event) => setShare(Number(event.currentTarget.value))} />
      </label>
    </div>
  )
}
