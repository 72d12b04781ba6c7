import neostandard from 'neostandard'

export default [
  ...neostandard({
    ts: true,
    // The kernel is written in AssemblyScript, whose types only its own compiler knows.
    ignores: ['**/dist/', 'build/', '**/src/**/generated/', 'src/signature/assembly/*.ts', '.bankswitch/']
  }),
  {
    rules: {
      'no-void': ['error', { allowAsStatement: true }],
      camelcase: ['error', { properties: 'never', ignoreImports: true }],
      '@stylistic/max-len': ['error', {
        code: 120, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true
      }],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }]
    }
  },
  {
    files: ['src/web/**/*.tsx'],
    rules: {
      // Markup reads best with one element a line.
      '@stylistic/max-len': ['error', {
        code: 150, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true
      }]
    }
  },
  {
    files: ['test/**', 'bench/**'],
    rules: {
      'max-lines-per-function': 'off',
      // Tables of cases read best with one case a line.
      '@stylistic/max-len': ['error', {
        code: 150, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreStrings: true
      }]
    }
  }
]
