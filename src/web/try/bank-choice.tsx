/** Which banks are to answer. */
import { useId, useState } from 'preact/hooks'
import type { Model } from '../../../clients/typescript/src/index.js'

/** Stands for no domain at all: the model chooses, by the picture. */
export const BY_MODEL = ''

const BANKS_MAX = 6

/** Up to so many domains each is a box of its own. */
const BOXES_MAX = 12

/** The default, and beside it the domain that the picture is of, or the next best. */
export function firstBanks ({ defaultDomain, domains }: Model, own?: string): string[] {
  const other = own !== undefined && own !== defaultDomain ? own : domains.find((domain) => domain !== defaultDomain)
  return other === undefined ? [defaultDomain] : [defaultDomain, other]
}

export function bankTitle (bank: string): string {
  return bank === BY_MODEL ? 'chosen by the picture' : bank
}

interface ChoiceProps {
  model: Model
  banks: readonly string[]
  onBanks: (banks: string[]) => void
}

export function BankChoice ({ model, banks, onBanks }: ChoiceProps) {
  const isFull = banks.length >= BANKS_MAX
  const known = [...model.domainFrom === undefined ? [] : [BY_MODEL], ...model.domains]
  const boxes = known.length <= BOXES_MAX ? known : [...banks]
  const toggle = (bank: string) => {
    onBanks(banks.includes(bank) ? banks.filter((one) => one !== bank) : [...banks, bank])
  }
  return (
    <fieldset class='banks'>
      <legend>Banks</legend>
      {boxes.map((bank) => (
        <label key={bank} class='box'>
          <input type='checkbox' checked={banks.includes(bank)} disabled={isFull && !banks.includes(bank)} onChange={() => toggle(bank)} />
          {bankTitle(bank)}
        </label>
      ))}
      {known.length > BOXES_MAX && !isFull && <BankSearch known={known.filter((bank) => !banks.includes(bank))} onBank={toggle} />}
    </fieldset>
  )
}

function BankSearch ({ known, onBank }: { known: readonly string[], onBank: (bank: string) => void }) {
  const id = useId()
  const [text, setText] = useState('')
  const input = (value: string) => {
    if (!known.includes(value)) return setText(value)
    onBank(value)
    setText('')
  }
  return (
    <label class='box'>
      <span class='hidden'>Add a bank</span>
      <input type='search' list={id} placeholder='Add a bank' value={text} onInput={(event) => input(event.currentTarget.value)} />
      <datalist id={id}>{known.filter((bank) => bank.includes(text)).slice(0, 50).map((bank) => <option key={bank} value={bank} />)}</datalist>
    </label>
  )
}
