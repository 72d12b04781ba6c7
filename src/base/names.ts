/**
 * Names that users give to models, domains and labels. They become path segments of URLs and of the file system, and
 * parts of `model@domain` and `domain:version`, so they hold none of `/ @ :` and never begin with a dot.
 */
export const NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'

const NAME = new RegExp(NAME_PATTERN)

export function isName (text: string): boolean {
  return NAME.test(text)
}
