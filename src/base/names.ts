/**
 * Names that users give to models, domains and labels. They become path segments of URLs and of the file system, and
 * parts of `model@domain` and `domain:version`, so they hold none of `/ @ :` and never begin with a dot.
 */
export const NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'

const NAME = new RegExp(NAME_PATTERN)

/** What `domain:label` may name besides a number. */
export const LABEL_PATTERN = '^[A-Za-z][A-Za-z0-9._-]{0,63}$'

const LABEL = new RegExp(LABEL_PATTERN)

/** The label that every domain has: its active version. */
export const ACTIVE_LABEL = 'active'

/** True for what a label may be called; no spelling of `active` is. */
export function isLabel (text: string): boolean {
  return LABEL.test(text) && text.toLowerCase() !== ACTIVE_LABEL
}

export function isName (text: string): boolean {
  return NAME.test(text)
}
