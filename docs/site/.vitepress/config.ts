import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

import { defineConfig, type DefaultTheme } from 'vitepress'

import { PAGES, routeOf, sourceFolderOf } from '../pages.ts'

const WIDE = ['comparison.md', 'performance.md', 'reliability.md']

// A pool with three connections, one of them in use.
const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b5c7a"/>' +
  '<g fill="#fff"><circle cx="8" cy="16" r="4"/><circle cx="24" cy="16" r="4"/></g><circle cx="16" cy="16" r="4" fill="#f2a33a"/></svg>'

// Long lines of code are wrapped, so that each is shown whole.
const STYLE = `
@media (min-width: 1280px) { .VPDoc.has-aside .content-container { max-width: 840px !important } }
.vp-doc div[class*='language-'] code { font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere }
.vp-doc div[class*='language-'] code { padding-left: 16px !important; padding-right: 16px !important }
`

const listed = new Set<string>()

// A page in the sidebar, which must be there.
function entry(text: string, link: string): DefaultTheme.SidebarItem {
  const file = `${link.slice(1)}${link.endsWith('/') ? 'index' : ''}.md`
  if (!existsSync(join(PAGES, file))) throw new Error(`the sidebar has ${link}: there is no such page`)
  listed.add(file)
  return { text, link }
}

const reference = (
  JSON.parse(
    readFileSync(join(PAGES, 'reference/typedoc-sidebar.json'), 'utf8'),
  ) as DefaultTheme.SidebarItem[]
).map((item) => (item.text === 'index' ? { ...item, text: 'cenote' } : item))

export default defineConfig({
  title: 'cenote',
  description:
    'A connection pool for TypeScript that serves callers in order, keeps every deadline, and recovers from every fault.',
  lang: 'en',
  head: [
    ['link', { rel: 'icon', type: 'image/svg+xml', href: `data:image/svg+xml,${encodeURIComponent(ICON)}` }],
    ['style', {}, STYLE],
  ],
  srcDir: PAGES,
  // The folder that a static host serves, and the path under which it does: CENOTE_SITE_BASE=/cenote/ for GitHub Pages.
  outDir: resolve(process.env['CENOTE_SITE'] ?? join(import.meta.dirname, '../dist')),
  base: process.env['CENOTE_SITE_BASE'] ?? '/',
  // Hosts differ in what they serve for a path without a suffix.
  cleanUrls: process.env['CENOTE_SITE_CLEAN_URLS'] === 'true',
  vite: { build: { chunkSizeWarningLimit: 2_000 } },
  markdown: {
    config(md) {
      // Links are written for the repository, where they work as well.
      md.core.ruler.push('repository-links', (state) => {
        const { path: page } = state.env as { path: string }
        const folder = sourceFolderOf(page)
        for (const token of state.tokens.flatMap(({ children }) => children ?? [])) {
          const name = { link_open: 'href', image: 'src' }[token.type]
          const given = name === undefined ? '' : (token.attrGet(name) ?? '')
          if (name === undefined || given === '' || /^([a-z]+:|#|\/)/.test(given)) continue
          const [path = '', anchor] = given.split('#')
          const route = routeOf(resolve(folder, path))
          // An image is found by its place beside the page, a page by its route.
          if (name === 'src')
            token.attrSet(name, relative(dirname(page), join(PAGES, route)).replace(/^(?!\.)/, './'))
          else token.attrSet(name, anchor === undefined ? route : `${route}#${anchor}`)
        }
      })
    },
  },
  transformPageData(data) {
    const { relativePath } = data
    if (!listed.has(relativePath) && !relativePath.startsWith('reference/'))
      throw new Error(`${relativePath} is in no sidebar`)
    // Their tables need the room.
    if (WIDE.includes(relativePath)) data.frontmatter['aside'] = false
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      entry('Start', '/'),
      entry('Recipes', '/recipes'),
      entry('Reference', '/reference/'),
      entry('Changes', '/changelog'),
    ] as DefaultTheme.NavItem[],
    sidebar: {
      '/reference/': reference.toSorted((a, b) => Number(b.text === 'cenote') - Number(a.text === 'cenote')),
      '/': [
        {
          text: 'Use it',
          items: [
            entry('Start here', '/'),
            entry('Concepts', '/concepts'),
            entry('Recipes', '/recipes'),
            entry('The size of a pool', '/sizing'),
            entry('Managers', '/managers'),
            entry('Telemetry', '/telemetry'),
            entry('Fleet', '/fleet'),
            entry('Share', '/share'),
            entry('Tenants', '/tenants'),
            entry('Options, errors, promises', '/readme'),
          ],
        },
        {
          text: 'Trust it',
          items: [
            entry('Reliability', '/reliability'),
            entry('Performance', '/performance'),
            entry('Simulation', '/simulation'),
            entry('The model', '/model/'),
            entry('Mutation', '/mutation'),
            entry('Comparison', '/comparison'),
            entry('Versions', '/versions'),
            entry('Security', '/security'),
          ],
        },
        {
          text: 'Change one import',
          items: [entry('Migrating', '/migrating'), entry('From bb8 and r2d2', '/from-bb8')],
        },
        {
          text: 'Integrations',
          collapsed: true,
          items: [
            ['All of them', ''],
            ['Kysely', 'kysely'],
            ['Drizzle', 'drizzle'],
            ['Knex', 'knex'],
            ['TypeORM', 'typeorm'],
            ['MikroORM', 'mikro-orm'],
            ['Sequelize', 'sequelize'],
            ['Prisma', 'prisma'],
            ['SQL Server', 'mssql'],
            ['Fastify', 'fastify'],
          ].map(([text = '', name = '']) => entry(text, `/integrations/${name}`)),
        },
        {
          text: 'Why is it so?',
          collapsed: true,
          items: [
            ['Cancelling does not cancel the connect', 'cancel'],
            ['One transition at a time', 'turns'],
            ['The backoff', 'backoff'],
            ['Storms', 'storms'],
            ['Bursts', 'burst'],
            ['Checks', 'checks'],
            ['Retries', 'retries'],
            ['One time', 'clock'],
            ['The cost of a checkout', 'cost'],
            ['Facades', 'facades'],
            ['The fleet', 'fleet'],
            ['Shares', 'share'],
            ['Groups', 'group'],
            ['The simulation', 'simulation'],
          ].map(([text = '', name = '']) => entry(text, `/why/${name}`)),
        },
      ],
    },
  },
})
