import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { linksOf } from '../../scripts/check-links.ts'
import { released } from '../../scripts/version.ts'

const ROOT = join(import.meta.dirname, '../..')
const workflow = readFileSync(join(ROOT, '.github/workflows/release.yml'), 'utf8')

test('what was unreleased gets the version and the date', () => {
  const before = '# Changelog\n\n## [Unreleased]\n\n### Added\n\n- More.\n\n## [0.1.0] - 2026-01-01\n'
  expect(released(before, '0.2.0', new Date('2026-12-01T12:00:00Z'))).toBe(
    '# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- More.\n\n## [0.1.0] - 2026-01-01\n',
  )
  const nothing = '# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-01-01\n'
  expect(() => released(nothing, '0.2.0', new Date())).toThrow('must list changes under [Unreleased]')
  expect(() => released('# Changelog\n', '0.2.0', new Date())).toThrow('must list changes')
})

test('links to other sites are found once, without their marks', () => {
  const text = `[a](https://nodejs.org/api/net.html#x), <https://nodejs.org/api/net.html>. http://127.0.0.1:3000/ https://db.example.com/x
    https://cenote.test/ \`https://www.npmjs.com/package/pg\`.`
  expect(linksOf(text)).toEqual(['https://nodejs.org/api/net.html', 'https://www.npmjs.com/package/pg'])
})

test('the release has provenance, and a version that its tag names', () => {
  expect(workflow).toContain('id-token: write')
  expect(workflow).toMatch(/publish --provenance --access public/)
  expect(workflow).toContain('"$GITHUB_REF_NAME"')
})
