/** The sandbox's page, in a real browser. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NO_BROWSER, startBrowser, startStage, type Stage } from './support.ts'

const HOSTILE = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'">`
const ROWS = `values (1, 'ada@example.com', '${HOSTILE.replaceAll("'", "''").replaceAll('"', '\\"')}'), (2, 'grace@example.com', 'x'), (3, 'alan@example.com', 'y')`

let browser: Browser
let stage: Stage
let page: Page
/** What the browser complained of, and whom it asked. */
let complaints: string[]
let hosts: Set<string>

describe.skipIf(NO_BROWSER !== null)(`the page of the sandbox${NO_BROWSER === null ? '' : ` (${NO_BROWSER})`}`, () => {
  beforeAll(async () => void (browser = await startBrowser()))
  afterAll(() => browser.close())

  beforeEach(async () => {
    stage = await startStage(ROWS)
    page = await browser.newPage({ viewport: { width: 1200, height: 900 } })
    complaints = []
    hosts = new Set()
    page.on('console', (message) => void (['error', 'warning'].includes(message.type()) && complaints.push(message.text())))
    page.on('pageerror', (error) => void complaints.push(error.message))
    page.on('request', (request) => void hosts.add(new URL(request.url()).host))
    await page.goto(`${stage.sandbox.url}/`)
    await page.getByRole('heading', { level: 2, name: 'webhook' }).waitFor()
  })
  afterEach(async () => {
    await page.close()
    await stage.close()
  })

  const cells = (): Promise<string[]> => page.getByRole('cell').allTextContents()
  const button = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click()
  const said = (text: string): Promise<void> => page.getByRole('status').filter({ hasText: text }).waitFor()

  it('shows the records of a run without being asked, and its requests with their bodies', async () => {
    expect(await page.getByRole('cell').count()).toBe(0)
    expect((await stage.cdp('run')).code).toBe(0)
    await page.getByRole('cell', { name: 'grace@example.com' }).waitFor()
    expect(await page.getByRole('columnheader').allTextContents()).toEqual(['key', 'email', 'note'])
    const request = page.getByRole('listitem').filter({ hasText: 'POST /changes 200' })
    await request.locator('summary').click()
    const sent = page.getByRole('region', { name: 'What request 1 sent' })
    expect(JSON.parse((await sent.textContent())!)).toMatchObject({ sync: 'contacts', changes: [{ key: '1' }, { key: '2' }, { key: '3' }] })
    expect(await page.getByRole('region', { name: 'What request 1 answered' }).textContent()).toContain('"status": "ok"')
    // Looking again leaves open what a person opened.
    await stage.cdp('run', '--full-refresh')
    await page.getByRole('listitem').nth(3).waitFor()
    expect(await sent.isVisible()).toBe(true)
  })

  it('shows hostile text as text', async () => {
    await stage.cdp('run')
    await page.getByRole('cell', { name: 'ada@example.com' }).waitFor()
    expect(await cells()).toContain(HOSTILE)
    expect(await page.locator('td *, pre *').count()).toBe(0)
    expect(await page.title()).toBe('webhook - cdp-sync sandbox')
  })

  it('makes requests fail, and the run arrives all the same', async () => {
    await page.getByRole('form', { name: 'Let requests fail' }).getByRole('spinbutton').fill('2')
    await page.getByRole('combobox', { name: 'What these requests get' }).selectOption('429')
    await button('Fail')
    await said('Done: requests will fail.')
    await page.getByText('The next 2 requests will get 429.').waitFor()
    expect((await stage.cdp('run')).code).toBe(0)
    await page.getByRole('cell', { name: 'grace@example.com' }).waitFor()
    expect(await page.locator('summary .bad').allTextContents()).toEqual(['429', '429'])
    expect((await stage.cdp('plan', '--detailed-exitcode')).code).toBe(0)
  })

  it('has rows refused, and lets everything be right again', async () => {
    await page.getByLabel('rows are refused').fill('2')
    await button('Refuse')
    await page.getByText('The next 2 rows will be refused.').waitFor()
    expect((await stage.cdp('run')).code).toBe(3)
    await page.getByText('records (1)').waitFor()
    await page.getByLabel('Each answer takes').fill('60000')
    await button('Delay')
    await page.getByText('Each answer takes 60,000 ms more.').waitFor()
    await button('Nothing goes wrong')
    await said('Done: nothing goes wrong any more.')
    expect((await stage.cdp('run')).code).toBe(0)
    await page.getByText('records (3)').waitFor()
  })

  it('finds records, and forgets them', async () => {
    await stage.cdp('run')
    await page.getByText('records (3)').waitFor()
    await page.getByLabel('Only those that hold').fill('GRACE')
    await page.getByText('1 of 3 fit').waitFor()
    expect(await page.getByRole('row').count()).toBe(2)
    await page.getByLabel('Only those that hold').fill('')
    await button('Forget everything')
    await page.getByText('records (0)').waitFor()
    await page.getByText('None yet.').waitFor()
  })

  it('works by keyboard: another service is chosen and stays chosen', async () => {
    const others = page.getByRole('navigation').getByRole('button', { name: 'other' })
    await others.focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 2, name: 'other' }).waitFor()
    expect(await others.getAttribute('aria-current')).toBe('true')
    await page.reload()
    await page.getByRole('heading', { level: 2, name: 'other' }).waitFor()
    expect(await page.getByText('type: other').isVisible()).toBe(false)
    await page.getByText('How to reach it').click()
    expect(await page.getByLabel('Entry of destinations').textContent()).toContain('type: other')
  })

  it('fits on 400 pixels, light and dark, with text that can be read', async () => {
    await stage.cdp('run')
    await page.setViewportSize({ width: 400, height: 800 })
    await page.getByRole('cell', { name: 'grace@example.com' }).waitFor()
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
      expect(await page.evaluate(LOWEST_CONTRAST)).toBeGreaterThanOrEqual(4.5)
      if (process.env['SCREENSHOTS'])
        await page.screenshot({ path: `${process.env['SCREENSHOTS']}/narrow-${colorScheme}.png`, fullPage: true })
    }
    await page.setViewportSize({ width: 1200, height: 900 })
    if (process.env['SCREENSHOTS']) await page.screenshot({ path: `${process.env['SCREENSHOTS']}/wide.png`, fullPage: true })
  })

  it('gives every control a name', async () => {
    const nameless = await page.evaluate(
      `[...document.querySelectorAll('button, input, select')].filter((it) => !(it.labels?.length || it.textContent.trim())).length`,
    )
    expect(nameless).toBe(0)
  })

  it('says so when the sandbox has ended', async () => {
    await stage.sandbox.close()
    await said('The sandbox has ended.')
  })

  afterEach(({ task }) => {
    expect([...hosts]).toEqual([new URL(stage.sandbox.url).host])
    // A sandbox that ended is one that a browser complains of.
    if (!task.name.includes('ended')) expect(complaints).toEqual([])
  })
})

/** The lowest ratio of contrast (WCAG 2.2, 1.4.3) between a text that is shown and the ground it stands on. */
const LOWEST_CONTRAST = `(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number)
  const light = (colour) => {
    const [r, g, b] = colour.map((it) => it / 255).map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor)
      if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3)
    }
    return [255, 255, 255]
  }
  const texts = [...document.querySelectorAll('body *')].filter((it) => it.checkVisibility() && [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  return Math.min(...texts.map((it) => {
    const [a, b] = [light(parse(getComputedStyle(it).color).slice(0, 3)), light(ground(it))].sort((x, y) => y - x)
    return (a + 0.05) / (b + 0.05)
  }))
})()`
