/**
 * Loads a driver when it is first needed: `subPath` is who asks (`cenote/pg`), `packageName` what to install, `specifier`
 * what to import (default: the package). Rejects with one line that says what to install, code 'ERR_MODULE_NOT_FOUND'.
 */
export async function loadDriver<T>(
  subPath: string,
  packageName: string,
  specifier: string = packageName,
): Promise<T> {
  try {
    const loaded = (await import(specifier)) as { default?: T } & T
    return loaded.default ?? loaded
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw Object.assign(
      new Error(`${subPath} needs the package '${packageName}': npm install ${packageName}`, { cause }),
      { code: 'ERR_MODULE_NOT_FOUND' },
    )
  }
}
