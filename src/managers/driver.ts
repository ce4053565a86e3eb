/** The error codes of a failed import of an optional driver: Node's ESM and CommonJS loaders, bundlers and Jest use these two codes. */
const NOT_FOUND = new Set<unknown>(['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'])

/**
 * Loads a driver when it is first needed. `subPath` is the part of the package that needs it (`cenote/pg`), `packageName` the
 * package to install, and `load` imports it by a literal specifier (`() => import('pg')`), so that a bundler finds the driver.
 * Rejects with one line that names the package to install, code 'ERR_MODULE_NOT_FOUND', if the package is missing; any other
 * failure passes through.
 */
export async function loadDriver<T>(
  subPath: string,
  packageName: string,
  load: () => Promise<unknown>,
): Promise<T> {
  try {
    const loaded = (await load()) as { default?: T } & T
    return loaded.default ?? loaded
  } catch (cause) {
    if (!isMissing(cause, packageName)) throw cause
    throw Object.assign(
      new Error(`${subPath} needs the package '${packageName}': npm install ${packageName}`, { cause }),
      { code: 'ERR_MODULE_NOT_FOUND' },
    )
  }
}

// The package itself, and not a module that an installed driver lacks: the first name in the message is the missing one.
function isMissing(error: unknown, packageName: string): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (!NOT_FOUND.has(code)) return false
  const [, name = packageName] = /['"]([^'"]+)['"]/.exec(String(message)) ?? []
  return name === packageName || name.startsWith(`${packageName}/`)
}
