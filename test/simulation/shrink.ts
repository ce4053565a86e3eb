import { Life, Violation } from './life.ts'
import type { Plan, PlanOptions } from './plan.ts'
import { describeReentry } from './reentry.ts'

/** A plan that fails, and how. */
export interface Failure {
  readonly plan: Plan
  readonly violation: Violation
  readonly story: readonly string[]
}

/** Lives a plan. undefined: nothing was violated. */
export async function fails(plan: Plan, tellsStory = false): Promise<Failure | undefined> {
  const life = new Life(plan, tellsStory)
  try {
    await life.live()
    return undefined
  } catch (error) {
    const violation =
      error instanceof Violation ? error : new Violation(`it threw ${String((error as Error).stack)}`, 0)
    return { plan, violation, story: life.story }
  }
}

/** The same failure with as few steps and options as there can be: what is left out one by one is not needed. */
export async function shrink(failure: Failure): Promise<Failure> {
  let best = failure
  const tryPlan = async (plan: Plan): Promise<boolean> => {
    const found = await fails(plan)
    if (found === undefined) return false
    best = found
    return true
  }
  let isSmaller = true
  while (isSmaller) {
    isSmaller = false
    for (let size = Math.max(1, best.plan.steps.length >> 1); size >= 1; size >>= 1) {
      for (let at = 0; at < best.plan.steps.length;) {
        const steps = best.plan.steps.toSpliced(at, size)
        if (await tryPlan({ ...best.plan, steps })) isSmaller = true
        else at += size
      }
    }
    for (const name of Object.keys(best.plan.options) as (keyof PlanOptions)[]) {
      const { [name]: _, ...options } = best.plan.options
      if (await tryPlan({ ...best.plan, options })) isSmaller = true
    }
    for (let at = 0; at < best.plan.reentries.length;) {
      if (await tryPlan({ ...best.plan, reentries: best.plan.reentries.toSpliced(at, 1) })) isSmaller = true
      else at++
    }
    if (best.plan.storm !== undefined && (await tryPlan({ ...best.plan, storm: undefined }))) isSmaller = true
    for (const hook of best.plan.hooks) {
      if (await tryPlan({ ...best.plan, hooks: best.plan.hooks.filter((each) => each !== hook) }))
        isSmaller = true
    }
  }
  return (await fails(best.plan, true)) ?? best
}

/** A failure as a story to read and to replay. */
export function tell({ plan, violation, story }: Failure): string {
  return [
    `seed ${plan.seed}: ${violation.message}`,
    `options ${JSON.stringify(plan.options)}${plan.hooks.length === 0 ? '' : `, hooks ${plan.hooks.join(', ')}`}`,
    ...(plan.storm === undefined ? [] : [`storm ${JSON.stringify(plan.storm)}`]),
    ...plan.reentries.map((each) => `user code ${describeReentry(each)}`),
    ...story.map((line) => `  ${line}`),
    `replay: npm run sim -- --seed ${plan.seed}`,
  ].join('\n')
}
